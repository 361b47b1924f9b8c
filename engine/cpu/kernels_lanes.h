/* Sixteen lanes of float as one AVX-512 register or two AVX2 registers: with the same operations in the same order, the
 * two give the same numbers to the bit. Included once for each level of instructions (kernels.c).
 */

#if LEVEL >= LEVEL_AVX512
typedef __m512 NAME(lanes);
#else
typedef struct { __m256 low, high; } NAME(lanes);
#endif
#define lanes NAME(lanes)

#if LEVEL >= LEVEL_AVX512

INLINE lanes NAME(load)(const float *x) { return _mm512_loadu_ps(x); }
INLINE lanes NAME(load_first)(const float *x, long n) { return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), x); }
INLINE void NAME(store)(float *x, lanes a) { _mm512_storeu_ps(x, a); }
INLINE void NAME(store_first)(float *x, lanes a, long n) { _mm512_mask_storeu_ps(x, (__mmask16)((1u << n) - 1), a); }
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

/* e^x to about one part in 10^7: x = n log 2 + r, |r| <= log 2 / 2, and a polynomial for e^r. Below -87 it is about 1e-38. */
INLINE lanes NAME(exponential)(lanes x) {
    x = NAME(max)(NAME(all)(-87.0f), NAME(min)(NAME(all)(88.0f), x)); /* in this order NaN stays NaN */
    lanes n = NAME(nearest)(NAME(mul)(x, NAME(all)(1.44269504f)));
    lanes r = NAME(fma)(n, NAME(all)(-0.693359375f), x);
    r = NAME(fma)(n, NAME(all)(2.12194440e-4f), r);
    lanes p = NAME(all)(1.0f / 720);
    p = NAME(fma)(p, r, NAME(all)(1.0f / 120));
    p = NAME(fma)(p, r, NAME(all)(1.0f / 24));
    p = NAME(fma)(p, r, NAME(all)(1.0f / 6));
    p = NAME(fma)(p, r, NAME(all)(0.5f));
    p = NAME(fma)(p, r, NAME(all)(1.0f));
    p = NAME(fma)(p, r, NAME(all)(1.0f));
    return NAME(mul)(p, NAME(power_of_two)(n));
}
