/* Decoding on x86-64 CPUs: int8 products, what is between them, and attention over a tree's cache.
 *
 * kernels.py describes the functions and calls them. One source is compiled for three levels of instructions, of which the best
 * that the machine has is used; all give the same numbers to the bit (with -ffp-contract=off: what is fused, the source says). It
 * is not linked to an OpenMP library: it takes torch's, so that both use the same threads.
 */

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>

#define LEVEL_AVX2 1
#define LEVEL_AVXVNNI 2
#define LEVEL_AVX512 3

#define INLINE static inline __attribute__((always_inline))
#define TINY 1e-30f              /* a row of zeros has some scale, too */
#define OLD_PANEL 32                 /* outputs that stand together: for each four inputs 32 x 4 weights */
#define CACHED_LEVELS (512 << 10) /* bytes */
#define PREFETCH 2048            /* bytes ahead */
#define SMALL_WORK (1 << 17)     /* multiplications for which a second thread does not pay */
#define SMALL_ROWS (1 << 14)     /* numbers for which it does not */

static inline long padded(long k) { return (k + 3) / 4 * 4; }

#include "kernels_storage.h"

struct attention {
    long rows, heads, kv_heads, head_dim, groups, path_stride;
    float scale;
    const float *query, *key, *value;
    long query_row, query_head, key_row, key_head, value_row, value_head;
    float *cells;
    const int64_t *slots, *paths, *lengths, *group_of_row;
    const float *const *prompt_keys, *const *prompt_values;
    const int64_t *prompt_head, *prompt_tokens;
};

struct kernels {
    void (*linear)(const float *, long, long, const int8_t *, const int32_t *, const float *, const float *, float *, long, int);
    void (*times)(const struct blocks *, const struct rows *, const float *, float *, long, int);
    void (*round)(const float *, long, const struct rows *, int);
    void (*rms_norm)(const float *, const float *, float, float *, long, long, int);
    void (*silu_mul)(const float *, float *, long, long, int);
    void (*rotate)(float *, long, long, long, long, const float *, const float *, long, int);
    void (*attend)(const struct attention *, float *, int);
    void (*sum_up)(const float *, long, long, float, float *, int);
    void (*find_largest)(const float *, long, long, long, float *, int64_t *, int);
};

struct place {
    float value;
    int32_t place;
};

static int larger_first(const void *a, const void *b) {
    const struct place *x = a, *y = b;
    if (x->value != y->value) return x->value > y->value ? -1 : 1;
    return x->place < y->place ? -1 : 1;
}

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")
#define LEVEL LEVEL_AVX512
#define NAME(name) name##_avx512
#include "kernels_lanes.h"
#include "kernels_body.h"
#include "kernels_blocks.h"
#undef LEVEL
#undef NAME
#pragma GCC pop_options

#if __GNUC__ >= 11 /* older ones do not know it */
#define WITH_AVXVNNI
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avxvnni")
#define LEVEL LEVEL_AVXVNNI
#define NAME(name) name##_avxvnni
#include "kernels_lanes.h"
#include "kernels_body.h"
#include "kernels_blocks.h"
#undef LEVEL
#undef NAME
#pragma GCC pop_options
#endif

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#define LEVEL LEVEL_AVX2
#define NAME(name) name##_avx2
#include "kernels_lanes.h"
#include "kernels_body.h"
#include "kernels_blocks.h"
#undef LEVEL
#undef NAME
#pragma GCC pop_options

static const struct kernels *chosen;

/* Whether the machine has a level. AVX-512 VNNI does not imply AVX-VNNI. */
int gg_has(int level) {
    __builtin_cpu_init();
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    if (level == LEVEL_AVX512)
        return avx2 && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#ifdef WITH_AVXVNNI
    if (level == LEVEL_AVXVNNI) return avx2 && __builtin_cpu_supports("avxvnni");
#endif
    return level == LEVEL_AVX2 && avx2;
}

void gg_use(int level) {
    chosen = &kernels_avx2;
    if (level == LEVEL_AVX512) chosen = &kernels_avx512;
#ifdef WITH_AVXVNNI
    if (level == LEVEL_AVXVNNI) chosen = &kernels_avxvnni;
#endif
}

/* Weights [n, k] -> the rows from `first` on of panels of 32 rows, each of which holds for every four inputs 32 x 4 weights; starts:
 * what a zero point of 128 adds to each row. */
void gg_pack(const int8_t *weights, long n, long k, long first, int8_t *packed, int32_t *starts) {
    long stride = padded(k);
    for (long row = first; row < first + n; row++, weights += k) {
        int8_t *panel = packed + row / OLD_PANEL * OLD_PANEL * stride + row % OLD_PANEL * 4;
        int32_t sum = 0;
        for (long i = 0; i < k; i++) {
            panel[i / 4 * 4 * OLD_PANEL + i % 4] = weights[i];
            sum += weights[i];
        }
        starts[row] = -128 * sum;
    }
}

void gg_linear(
    const float *x, long rows, long k, const int8_t *packed, const int32_t *starts, const float *steps, const float *bias, float *out,
    long n, int threads
) {
    chosen->linear(x, rows, k, packed, starts, steps, bias, out, n, threads);
}
/* How many bytes rows take. */
long gg_rounded_bytes(long rows, long chunks) {
    struct rows x;
    return (long)lay_out(&x, rows, chunks, NULL);
}
void gg_round(const float *x, long rows, long k, char *memory, int threads) {
    struct rows to;
    lay_out(&to, rows, (k + CHUNK - 1) / CHUNK, memory);
    chosen->round(x, k, &to, threads);
}
void gg_times(const struct blocks *m, char *memory, long rows, const float *bias, float *out, long stride, int threads) {
    struct rows x;
    lay_out(&x, rows, m->chunks, memory);
    chosen->times(m, &x, bias, out, stride, threads);
}
long gg_plane_bytes(long type, long outputs, long chunks) { return (outputs + PANEL - 1) / PANEL * plane_bytes(kind_of(type), chunks); }
long gg_scale_bytes(long type, long outputs, long chunks) { return (outputs + PANEL - 1) / PANEL * scale_bytes(kind_of(type), chunks); }
void gg_pack_blocks(const struct blocks *m, const uint8_t *raw, long n, long first, int threads) { pack(m, raw, n, first, threads); }
void gg_unpack(const struct blocks *m, const int64_t *outputs, long n, float *out, long k, int threads) {
#pragma omp parallel for schedule(static) num_threads(n * k < SMALL_ROWS ? 1 : threads)
    for (long i = 0; i < n; i++) unpack_output(m, outputs[i], out + i * k, k);
}
void gg_rms_norm(const float *x, const float *weight, float epsilon, float *out, long rows, long k, int threads) {
    chosen->rms_norm(x, weight, epsilon, out, rows, k, threads);
}
void gg_silu_mul(const float *gate_up, float *out, long rows, long k, int threads) { chosen->silu_mul(gate_up, out, rows, k, threads); }
void gg_rotate(
    float *x, long tokens, long heads, long token_stride, long head_dim, const float *cosine, const float *sine, long width, int threads
) {
    chosen->rotate(x, tokens, heads, token_stride, head_dim, cosine, sine, width, threads);
}
void gg_attend(const struct attention *a, float *out, int threads) { chosen->attend(a, out, threads); }
void gg_sum_up(const float *logits, long rows, long n, float inverse, float *out, int threads) {
    chosen->sum_up(logits, rows, n, inverse, out, threads);
}
void gg_find_largest(const float *logits, long rows, long n, long width, float *values, int64_t *places, int threads) {
    chosen->find_largest(logits, rows, n, width, values, places, threads);
}

#else

int gg_has(int level) {
    (void)level;
    return 0;
}

#endif
