/* Decoding on x86-64 and ARM64 CPUs: products with matrices of GGUF's blocks, what is between them, and attention over a tree's cache.
 *
 * kernels.py and blocks.py describe the functions and call them. One source is compiled for several levels of instructions, of
 * which the best that the machine has is used; all give the same numbers to the bit (with -ffp-contract=off: what is fused, the
 * source says).
 */

#include "kernels.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#define PAUSE _mm_pause
#elif defined(__aarch64__)
#include <arm_neon.h>
#define PAUSE() __asm__ volatile("yield")
#endif

#ifdef PAUSE

#define INLINE static inline __attribute__((always_inline))
#define TINY 1e-30f          /* a row of zeros has some scale, too */
#define PREFETCH 2048        /* bytes ahead */
#define PIECE_WORK (1 << 18) /* multiplications of a piece of a product, at least */
#define PIECE (1 << 13)      /* numbers of a piece of what is between products, at least */

#include "kernels_pool.h"
#include "kernels_storage.h"

struct product {
    const struct blocks *matrix;
    struct rows x;
    const float *bias;
    float *out;
    long stride;
    int add; /* to what is in `out` */
};

struct rounding {
    const float *x;
    long k;
    struct rows to;
};

struct norm {
    const float *x, *weight;
    float epsilon;
    float *out;
    long k;
};

struct gate {
    const float *gate_up;
    float *out;
    long k;
};

struct rotation {
    float *x;
    long heads, token_stride, head_dim;
    const float *cosine, *sine;
    long width;
};

struct kept {
    float *x;
    long stride, count; /* of a token */
};

struct summing {
    const float *logits;
    long n;
    float inverse;
    float *out;
};

struct search {
    const float *logits;
    long n, width;
    float *values;
    int64_t *places;
};

struct kernels {
    task *times, *round, *rms_norm, *silu_mul, *rotate, *halve, *keep, *attend, *sum_up, *find_largest;
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

/* What is between the two may use some instructions. */
#define PRAGMA(words) _Pragma(#words)
#if defined(__clang__)
#define TARGET(names) PRAGMA(clang attribute push(__attribute__((target(names))), apply_to = function))
#define END_TARGET PRAGMA(clang attribute pop)
#else
#define TARGET(names) PRAGMA(GCC push_options) PRAGMA(GCC target(names))
#define END_TARGET PRAGMA(GCC pop_options)
#endif

#if defined(__x86_64__)

TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")
#define LEVEL LEVEL_AVX512
#define NAME(name) name##_avx512
#include "kernels_level.h"
END_TARGET

#if __GNUC__ >= 11 || __clang_major__ >= 12 /* older ones do not know it */
#define WITH_AVXVNNI
TARGET("avx2,fma,f16c,avxvnni")
#define LEVEL LEVEL_AVXVNNI
#define NAME(name) name##_avxvnni
#include "kernels_level.h"
END_TARGET
#endif

TARGET("avx2,fma,f16c")
#define LEVEL LEVEL_AVX2
#define NAME(name) name##_avx2
#include "kernels_level.h"
END_TARGET

/* A bit of what the CPU says of itself: some compilers' builtins know neither F16C nor AVX-VNNI. */
static int says(unsigned leaf, unsigned part, int of, int bit) {
    unsigned words[4] = {0};
    __get_cpuid_count(leaf, part, &words[0], &words[1], &words[2], &words[3]);
    return words[of] >> bit & 1;
}

/* Of a level; NULL where the machine lacks it. AVX-512 VNNI does not imply AVX-VNNI. */
static const struct kernels *kernels_of(int level) {
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !says(1, 0, 2, 29)) return NULL;
    if (level == LEVEL_AVX2) return &kernels_avx2;
#ifdef WITH_AVXVNNI
    if (level == LEVEL_AVXVNNI && says(7, 1, 0, 4)) return &kernels_avxvnni;
#endif
    if (level == LEVEL_AVX512 && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return &kernels_avx512;
    return NULL;
}

#else

#ifdef __clang__
#define DOT "dotprod"
#define KNOWS_DOT (__clang_major__ >= 16) /* older ones know it for a whole file only */
#else
#define DOT "arch=armv8.2-a+dotprod"
#define KNOWS_DOT (__GNUC__ >= 8)
#endif

#if defined(__ARM_FEATURE_DOTPROD) /* what this is compiled for has it, as all Macs */
#define HAS_DOT 1
#elif defined(__linux__) && KNOWS_DOT
#include <sys/auxv.h>
#define HAS_DOT (getauxval(AT_HWCAP) & HWCAP_ASIMDDP)
#endif

#ifdef HAS_DOT
TARGET(DOT)
#define LEVEL LEVEL_NEON_DOT
#define NAME(name) name##_neon_dot
#include "kernels_level.h"
END_TARGET
#endif

#define LEVEL LEVEL_NEON
#define NAME(name) name##_neon
#include "kernels_level.h"

/* Of a level; NULL where the machine lacks it. */
static const struct kernels *kernels_of(int level) {
#ifdef HAS_DOT
    if (level == LEVEL_NEON_DOT && HAS_DOT) return &kernels_neon_dot;
#endif
    return level == LEVEL_NEON ? &kernels_neon : NULL;
}

#endif

static const struct kernels *chosen;

int gg_has(int level) { return kernels_of(level) != NULL; }
void gg_use(int level) { chosen = kernels_of(level); }

/* `total` items of `size` numbers or multiplications, in pieces of at least `piece` of them. */
static void in_pieces(task *run, const void *arguments, long total, long size, long piece, int threads) {
    long each = size < piece ? piece / (size > 0 ? size : 1) : 1;
    run_task(run, arguments, total, each, threads);
}

/* How many bytes rounded rows take. */
long gg_rounded_bytes(long rows, long chunks) {
    struct rows x;
    return (long)lay_out(&x, rows, chunks, NULL);
}
long gg_plane_bytes(long type, long outputs, long chunks) { return panels_of(outputs) * plane_bytes(kind_of(type), chunks); }
long gg_scale_bytes(long type, long outputs, long chunks) { return panels_of(outputs) * scale_bytes(kind_of(type), chunks); }

void gg_round(const float *x, long rows, long k, char *memory, int threads) {
    struct rounding a = {x, k, {0}};
    lay_out(&a.to, rows, (k + CHUNK - 1) / CHUNK, memory);
    in_pieces(chosen->round, &a, rows, k, PIECE, threads);
}
static void times(const struct product *a, int threads) {
    long parts = (a->x.count + a->x.at_once - 1) / a->x.at_once, size = a->x.chunks * CHUNK * PANEL * a->x.at_once;
    in_pieces(chosen->times, a, parts * panels_of(a->matrix->outputs), size, PIECE_WORK, threads);
}
void gg_times(const struct blocks *matrix, char *memory, long rows, const float *bias, float *out, long stride, int threads) {
    struct product a = {matrix, {0}, bias, out, stride, 0};
    lay_out(&a.x, rows, matrix->chunks, memory);
    times(&a, threads);
}
void gg_pack(const struct blocks *matrix, const uint8_t *raw, long n, long first, int threads) {
    struct packing a = {matrix, raw, n, first};
    in_pieces(pack, &a, (first + n - 1) / PANEL - first / PANEL + 1, matrix->chunks * CHUNK * PANEL, PIECE, threads);
}
void gg_rows(const struct blocks *matrix, const int64_t *outputs, long n, float *out, long k, int threads) {
    struct reading a = {matrix, outputs, out, k};
    in_pieces(read_outputs, &a, n, k, PIECE, threads);
}
void gg_rms_norm(const float *x, const float *weight, float epsilon, float *out, long rows, long k, int threads) {
    struct norm a = {x, weight, epsilon, out, k};
    in_pieces(chosen->rms_norm, &a, rows, k, PIECE, threads);
}
void gg_silu_mul(const float *gate_up, float *out, long rows, long k, int threads) {
    struct gate a = {gate_up, out, k};
    in_pieces(chosen->silu_mul, &a, rows, k, PIECE, threads);
}
void gg_rotate(
    float *x, long tokens, long heads, long token_stride, long head_dim, const float *cosine, const float *sine, long width, int threads
) {
    struct rotation a = {x, heads, token_stride, head_dim, cosine, sine, width};
    in_pieces(chosen->rotate, &a, tokens, heads * head_dim, PIECE, threads);
}
void gg_attend(const struct attention *a, int threads) {
    long tokens = a->path_stride;
    for (long g = 0; g < a->groups; g++) tokens += a->prompt_tokens[g] / a->groups;
    in_pieces(chosen->keep, a, a->rows, 2 * a->kv_heads * a->head_dim, PIECE, threads);
    in_pieces(chosen->attend, a, a->rows * a->kv_heads, a->heads / a->kv_heads * a->head_dim * tokens, PIECE, threads);
}
void gg_sum_up(const float *logits, long rows, long n, float inverse, float *out, int threads) {
    struct summing a = {logits, n, inverse, out};
    in_pieces(chosen->sum_up, &a, rows, n, PIECE, threads);
}
void gg_find_largest(const float *logits, long rows, long n, long width, float *values, int64_t *places, int threads) {
    struct search a = {logits, n, width, values, places};
    in_pieces(chosen->find_largest, &a, rows, n, PIECE, threads);
}

#include "kernels_layer.h"

#else

int gg_has(int level) {
    (void)level;
    return 0;
}

#endif
