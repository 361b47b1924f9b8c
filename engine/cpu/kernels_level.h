/* All that depends on the level of instructions, LEVEL, each time under names of its own, NAME (kernels.c).
 *
 * kernels_x86.h and kernels_neon.h have the same operations under the same names: on `lanes`, sixteen floats, for what is between
 * products, and for products on registers of WIDE outputs, TOGETHER of which a row meets at once, as `reals` and `words`. Levels of 8
 * bits are multiplied as they are where SIGNED_BYTES, else from 0 on; products are summed in 16 bits first where IN_PAIRS. The rest
 * is written once, and adds in one order, so that all levels of instructions give the same numbers to the bit.
 */

#if defined(__x86_64__)
#include "kernels_x86.h"
#else
#include "kernels_neon.h"
#endif

#include "kernels_body.h"
#include "kernels_blocks.h"

static const struct kernels NAME(kernels) = {
    NAME(times), NAME(round), NAME(rms_norm), NAME(silu_mul), NAME(rotate), NAME(halve), NAME(keep), NAME(attend), NAME(sum_up),
    NAME(find_largest),
};

#undef QUERIES_AT_ONCE
#undef WIDE
#undef TOGETHER
#undef IN_PAIRS
#undef SIGNED_BYTES
#undef lanes
#undef reals
#undef words
#undef LEVEL
#undef NAME
