/* The instructions of x86-64 CPUs that kernels_body.h and kernels_blocks.h are written in (kernels_level.h). */

/* ---- sixteen lanes of floats: one AVX-512 register or two of AVX2 */

#if LEVEL >= LEVEL_AVX512
#define QUERIES_AT_ONCE 8
typedef __m512 NAME(lanes);
#else
#define QUERIES_AT_ONCE 4
typedef struct { __m256 low, high; } NAME(lanes);
#endif
#define lanes NAME(lanes)

#if LEVEL >= LEVEL_AVX512

INLINE lanes NAME(load)(const float *x) { return _mm512_loadu_ps(x); }
INLINE lanes NAME(load_first)(const float *x, long n) { return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), x); }
INLINE void NAME(store)(float *x, lanes a) { _mm512_storeu_ps(x, a); }
INLINE void NAME(store_first)(float *x, lanes a, long n) { _mm512_mask_storeu_ps(x, (__mmask16)((1u << n) - 1), a); }
INLINE lanes NAME(load_16_bits)(const uint16_t *x) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)x)); }
INLINE void NAME(store_16_bits)(uint16_t *x, lanes a) { _mm256_storeu_si256((__m256i *)x, _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT)); }
INLINE lanes NAME(all)(float x) { return _mm512_set1_ps(x); }
INLINE lanes NAME(add)(lanes a, lanes b) { return _mm512_add_ps(a, b); }
INLINE lanes NAME(sub)(lanes a, lanes b) { return _mm512_sub_ps(a, b); }
INLINE lanes NAME(mul)(lanes a, lanes b) { return _mm512_mul_ps(a, b); }
INLINE lanes NAME(div)(lanes a, lanes b) { return _mm512_div_ps(a, b); }
INLINE lanes NAME(max)(lanes a, lanes b) { return _mm512_max_ps(a, b); }
INLINE lanes NAME(min)(lanes a, lanes b) { return _mm512_min_ps(a, b); }
INLINE lanes NAME(fma)(lanes a, lanes b, lanes c) { return _mm512_fmadd_ps(a, b, c); }
INLINE lanes NAME(absolute)(lanes a) { return _mm512_abs_ps(a); }
INLINE __m256 NAME(halves)(lanes a) { return _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1)); }
INLINE __m256 NAME(larger_halves)(lanes a) { return _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1)); }
/* 2^n for whole n in [-126, 127] */
INLINE lanes NAME(power_of_two)(lanes n) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23));
}
INLINE lanes NAME(nearest)(lanes a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINE void NAME(store_signed)(int8_t *q, lanes a) { _mm_storeu_si128((__m128i *)q, _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(a))); }
/* A bit for each lane in which a > b. */
INLINE unsigned NAME(above)(lanes a, lanes b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }

#else

INLINE lanes NAME(load)(const float *x) { return (lanes){_mm256_loadu_ps(x), _mm256_loadu_ps(x + 8)}; }
INLINE __m256i NAME(first)(long n) { return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)); }
INLINE lanes NAME(load_first)(const float *x, long n) {
    return (lanes){_mm256_maskload_ps(x, NAME(first)(n)), _mm256_maskload_ps(x + 8, NAME(first)(n - 8))};
}
INLINE void NAME(store)(float *x, lanes a) { _mm256_storeu_ps(x, a.low); _mm256_storeu_ps(x + 8, a.high); }
INLINE void NAME(store_first)(float *x, lanes a, long n) {
    _mm256_maskstore_ps(x, NAME(first)(n), a.low);
    _mm256_maskstore_ps(x + 8, NAME(first)(n - 8), a.high);
}
INLINE lanes NAME(load_16_bits)(const uint16_t *x) {
    return (lanes){_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)x)), _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(x + 8)))};
}
INLINE void NAME(store_16_bits)(uint16_t *x, lanes a) {
    _mm_storeu_si128((__m128i *)x, _mm256_cvtps_ph(a.low, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128((__m128i *)(x + 8), _mm256_cvtps_ph(a.high, _MM_FROUND_TO_NEAREST_INT));
}
INLINE lanes NAME(all)(float x) { return (lanes){_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
#define PAIRWISE(name, f) INLINE lanes NAME(name)(lanes a, lanes b) { return (lanes){f(a.low, b.low), f(a.high, b.high)}; }
PAIRWISE(add, _mm256_add_ps)
PAIRWISE(sub, _mm256_sub_ps)
PAIRWISE(mul, _mm256_mul_ps)
PAIRWISE(div, _mm256_div_ps)
PAIRWISE(max, _mm256_max_ps)
PAIRWISE(min, _mm256_min_ps)
#undef PAIRWISE
INLINE lanes NAME(fma)(lanes a, lanes b, lanes c) {
    return (lanes){_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
INLINE lanes NAME(absolute)(lanes a) {
    __m256 sign = _mm256_set1_ps(-0.0f);
    return (lanes){_mm256_andnot_ps(sign, a.low), _mm256_andnot_ps(sign, a.high)};
}
INLINE __m256 NAME(halves)(lanes a) { return _mm256_add_ps(a.low, a.high); }
INLINE __m256 NAME(larger_halves)(lanes a) { return _mm256_max_ps(a.low, a.high); }
INLINE __m256 NAME(power_of_two_8)(__m256 n) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}
INLINE lanes NAME(power_of_two)(lanes n) { return (lanes){NAME(power_of_two_8)(n.low), NAME(power_of_two_8)(n.high)}; }
INLINE lanes NAME(nearest)(lanes a) {
    return (lanes){_mm256_round_ps(a.low, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
                   _mm256_round_ps(a.high, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
INLINE void NAME(store_signed)(int8_t *q, lanes a) {
    __m256i words = _mm256_packs_epi32(_mm256_cvtps_epi32(a.low), _mm256_cvtps_epi32(a.high));
    words = _mm256_permute4x64_epi64(words, 0xd8);
    _mm_storeu_si128((__m128i *)q, _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
}
INLINE unsigned NAME(above)(lanes a, lanes b) {
    return (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(a.low, b.low, _CMP_GT_OQ)) |
           (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(a.high, b.high, _CMP_GT_OQ)) << 8;
}

#endif

INLINE float NAME(sum)(lanes a) {
    __m256 eight = NAME(halves)(a);
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_shuffle_ps(four, four, 1)));
}

INLINE float NAME(largest)(lanes a) {
    __m256 eight = NAME(larger_halves)(a);
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(four, _mm_shuffle_ps(four, four, 1)));
}

/* The sums of eight: sums[i] = sum(a[i]). */
INLINE void NAME(eight_sums)(float *sums, const lanes *a) {
    __m256 h[8];
    for (int i = 0; i < 8; i++) h[i] = NAME(halves)(a[i]);
    __m256 low = _mm256_hadd_ps(_mm256_hadd_ps(h[0], h[1]), _mm256_hadd_ps(h[2], h[3]));
    __m256 high = _mm256_hadd_ps(_mm256_hadd_ps(h[4], h[5]), _mm256_hadd_ps(h[6], h[7]));
    _mm256_storeu_ps(sums, _mm256_add_ps(_mm256_permute2f128_ps(low, high, 0x20), _mm256_permute2f128_ps(low, high, 0x31)));
}

/* ---- a register of outputs of a product, each with a float or with four levels */

#if LEVEL >= LEVEL_AVX512
#define WIDE 16
#define TOGETHER 2
typedef __m512 NAME(reals);
typedef __m512i NAME(words);
#define OP(name) _mm512_##name
#define BITS_OP(name) _mm512_##name##_si512
#else
#define WIDE 8
#define TOGETHER 1
typedef __m256 NAME(reals);
typedef __m256i NAME(words);
#define OP(name) _mm256_##name
#define BITS_OP(name) _mm256_##name##_si256
#endif
#define reals NAME(reals)
#define words NAME(words)
#define IN_PAIRS (LEVEL == LEVEL_AVX2)
#define SIGNED_BYTES IN_PAIRS

INLINE reals NAME(load_reals)(const float *at) { return OP(loadu_ps)(at); }
INLINE void NAME(store_reals)(float *at, reals a) { OP(storeu_ps)(at, a); }
INLINE reals NAME(all_reals)(float x) { return OP(set1_ps)(x); }
INLINE reals NAME(times_reals)(reals a, reals b) { return OP(mul_ps)(a, b); }
INLINE reals NAME(plus_product)(reals a, reals b, reals c) { return OP(fmadd_ps)(a, b, c); }
INLINE reals NAME(less_product)(reals a, reals b, reals c) { return OP(fnmadd_ps)(a, b, c); }
INLINE reals NAME(reals_of)(words a) { return OP(cvtepi32_ps)(a); }
INLINE words NAME(load_words)(const void *at) { return BITS_OP(loadu)(at); }
INLINE words NAME(all_words)(int32_t x) { return OP(set1_epi32)(x); }
INLINE words NAME(all_bytes)(int x) { return OP(set1_epi8)((char)x); }
INLINE words NAME(common_bits)(words a, words b) { return BITS_OP(and)(a, b); }
INLINE words NAME(other_bits)(words a, words b) { return BITS_OP(xor)(a, b); }
/* Moves bits to the left (by > 0) or to the right within words of 16 bits: what crosses from byte to byte is masked away. */
INLINE words NAME(moved)(words x, const int by) { return by > 0 ? OP(slli_epi16)(x, by) : by < 0 ? OP(srli_epi16)(x, -by) : x; }
INLINE words NAME(four_levels)(const int8_t *at) {
    int32_t four;
    memcpy(&four, at, 4);
    return NAME(all_words)(four);
}
/* `merge`: low | (high & mask). */
#if LEVEL >= LEVEL_AVX512
INLINE reals NAME(load_halves)(const void *at) { return _mm512_cvtph_ps(_mm256_loadu_si256(at)); }
INLINE reals NAME(load_bytes)(const void *at) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(at))); }
INLINE words NAME(merge)(words low, words high, words mask) { return _mm512_ternarylogic_epi32(low, high, mask, 0xf8); }
#else
INLINE reals NAME(load_halves)(const void *at) { return _mm256_cvtph_ps(_mm_loadu_si128(at)); }
INLINE reals NAME(load_bytes)(const void *at) { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(at))); }
INLINE words NAME(merge)(words low, words high, words mask) { return _mm256_or_si256(low, _mm256_and_si256(high, mask)); }
#endif

#if IN_PAIRS
INLINE words NAME(pairs)(const int bits, words own, const int8_t *row, const int j) {
    words levels = NAME(four_levels)(row + 4 * j);
    if (bits == 8) levels = _mm256_sign_epi8(levels, own), own = _mm256_abs_epi8(own);
    return _mm256_maddubs_epi16(own, levels);
}
INLINE words NAME(add_pairs)(words a, words b) { return _mm256_add_epi16(a, b); }
INLINE words NAME(add_sums_of_pairs)(words sum, words pairs) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
#elif LEVEL == LEVEL_AVXVNNI
INLINE words NAME(add_fours)(words sum, words own, const int8_t *row, const int j) {
    return _mm256_dpbusd_avx_epi32(sum, own, NAME(four_levels)(row + 4 * j));
}
#else
INLINE words NAME(add_fours)(words sum, words own, const int8_t *row, const int j) {
    return _mm512_dpbusd_epi32(sum, own, NAME(four_levels)(row + 4 * j));
}
#endif

#undef OP
#undef BITS_OP
