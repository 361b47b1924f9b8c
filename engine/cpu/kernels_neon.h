/* The instructions of ARM64 CPUs that kernels_body.h and kernels_blocks.h are written in (kernels_level.h). What x86-64 does with
 * what is no number is done here, too. */

/* ---- sixteen lanes of floats: four registers */

#define QUERIES_AT_ONCE 4
typedef struct { float32x4_t a, b, c, d; } NAME(lanes);
#define lanes NAME(lanes)

INLINE float32x4_t NAME(larger)(float32x4_t x, float32x4_t y) { return vbslq_f32(vcgtq_f32(x, y), x, y); }
INLINE float32x4_t NAME(smaller)(float32x4_t x, float32x4_t y) { return vbslq_f32(vcltq_f32(x, y), x, y); }

#define OF_ONE(name, f) INLINE lanes NAME(name)(lanes x) { return (lanes){f(x.a), f(x.b), f(x.c), f(x.d)}; }
#define OF_TWO(name, f) \
    INLINE lanes NAME(name)(lanes x, lanes y) { return (lanes){f(x.a, y.a), f(x.b, y.b), f(x.c, y.c), f(x.d, y.d)}; }
OF_ONE(absolute, vabsq_f32)
OF_ONE(nearest, vrndnq_f32)
OF_TWO(add, vaddq_f32)
OF_TWO(sub, vsubq_f32)
OF_TWO(mul, vmulq_f32)
OF_TWO(div, vdivq_f32)
OF_TWO(max, NAME(larger))
OF_TWO(min, NAME(smaller))
INLINE lanes NAME(fma)(lanes x, lanes y, lanes z) {
    return (lanes){vfmaq_f32(z.a, x.a, y.a), vfmaq_f32(z.b, x.b, y.b), vfmaq_f32(z.c, x.c, y.c), vfmaq_f32(z.d, x.d, y.d)};
}
/* 2^n for whole n in [-126, 127] */
INLINE float32x4_t NAME(power_of_two_4)(float32x4_t n) {
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127)), 23));
}
OF_ONE(power_of_two, NAME(power_of_two_4))
#undef OF_ONE
#undef OF_TWO

INLINE lanes NAME(all)(float x) { return (lanes){vdupq_n_f32(x), vdupq_n_f32(x), vdupq_n_f32(x), vdupq_n_f32(x)}; }
INLINE lanes NAME(load)(const float *x) { return (lanes){vld1q_f32(x), vld1q_f32(x + 4), vld1q_f32(x + 8), vld1q_f32(x + 12)}; }
INLINE void NAME(store)(float *x, lanes y) {
    vst1q_f32(x, y.a);
    vst1q_f32(x + 4, y.b);
    vst1q_f32(x + 8, y.c);
    vst1q_f32(x + 12, y.d);
}
INLINE float32x4_t NAME(load_16_bits_4)(const uint16_t *x) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(x))); }
INLINE void NAME(store_16_bits_4)(uint16_t *x, float32x4_t y) { vst1_u16(x, vreinterpret_u16_f16(vcvt_f16_f32(y))); }
INLINE lanes NAME(load_16_bits)(const uint16_t *x) {
    return (lanes){NAME(load_16_bits_4)(x), NAME(load_16_bits_4)(x + 4), NAME(load_16_bits_4)(x + 8), NAME(load_16_bits_4)(x + 12)};
}
INLINE void NAME(store_16_bits)(uint16_t *x, lanes y) {
    NAME(store_16_bits_4)(x, y.a);
    NAME(store_16_bits_4)(x + 4, y.b);
    NAME(store_16_bits_4)(x + 8, y.c);
    NAME(store_16_bits_4)(x + 12, y.d);
}
INLINE lanes NAME(load_first)(const float *x, long n) {
    float some[16] = {0};
    if (n == 16) return NAME(load)(x);
    memcpy(some, x, (size_t)n * sizeof(float));
    return NAME(load)(some);
}
INLINE void NAME(store_first)(float *x, lanes y, long n) {
    float all[16];
    NAME(store)(n == 16 ? x : all, y);
    if (n != 16) memcpy(x, all, (size_t)n * sizeof(float));
}
INLINE void NAME(store_signed)(int8_t *q, lanes x) {
    int16x8_t low = vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(x.a)), vqmovn_s32(vcvtnq_s32_f32(x.b)));
    int16x8_t high = vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(x.c)), vqmovn_s32(vcvtnq_s32_f32(x.d)));
    vst1q_s8(q, vcombine_s8(vqmovn_s16(low), vqmovn_s16(high)));
}
/* A bit for each lane in which x > y. */
INLINE unsigned NAME(above)(lanes x, lanes y) {
    static const uint32_t bits[4] = {1, 2, 4, 8};
    uint32x4_t own = vld1q_u32(bits);
    uint32x4_t low = vorrq_u32(vandq_u32(vcgtq_f32(x.a, y.a), own), vandq_u32(vcgtq_f32(x.b, y.b), vshlq_n_u32(own, 4)));
    uint32x4_t high = vorrq_u32(vandq_u32(vcgtq_f32(x.c, y.c), own), vandq_u32(vcgtq_f32(x.d, y.d), vshlq_n_u32(own, 4)));
    return vaddvq_u32(vorrq_u32(low, vshlq_n_u32(high, 8)));
}

INLINE float NAME(sum)(lanes x) {
    float32x4_t four = vaddq_f32(vaddq_f32(x.a, x.c), vaddq_f32(x.b, x.d));
    float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

INLINE float NAME(largest)(lanes x) {
    float32x4_t four = NAME(larger)(NAME(larger)(x.a, x.c), NAME(larger)(x.b, x.d));
    four = NAME(larger)(four, vextq_f32(four, four, 2));
    return vgetq_lane_f32(NAME(larger)(four, vdupq_laneq_f32(four, 1)), 0);
}

/* The sums of four of eight lanes: sums[i] = sum(x[i]). */
INLINE float32x4_t NAME(four_sums)(const lanes *x) {
    float32x4_t low[4], high[4];
    for (int i = 0; i < 4; i++) low[i] = vaddq_f32(x[i].a, x[i].c), high[i] = vaddq_f32(x[i].b, x[i].d);
    float32x4_t of_low = vpaddq_f32(vpaddq_f32(low[0], low[1]), vpaddq_f32(low[2], low[3]));
    float32x4_t of_high = vpaddq_f32(vpaddq_f32(high[0], high[1]), vpaddq_f32(high[2], high[3]));
    return vaddq_f32(of_low, of_high);
}
INLINE void NAME(eight_sums)(float *sums, const lanes *x) {
    vst1q_f32(sums, NAME(four_sums)(x));
    vst1q_f32(sums + 4, NAME(four_sums)(x + 4));
}

/* ---- a register of outputs of a product, each with a float or with four levels */

#define WIDE 4
#define TOGETHER 2
typedef float32x4_t NAME(reals);
typedef int32x4_t NAME(words);
#define reals NAME(reals)
#define words NAME(words)
#define IN_PAIRS (LEVEL == LEVEL_NEON)
#define SIGNED_BYTES 1

INLINE reals NAME(load_reals)(const float *at) { return vld1q_f32(at); }
INLINE void NAME(store_reals)(float *at, reals x) { vst1q_f32(at, x); }
INLINE reals NAME(load_halves)(const void *at) { return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(at))); }
INLINE reals NAME(load_bytes)(const void *at) {
    int32_t four;
    memcpy(&four, at, 4);
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(four))))));
}
INLINE reals NAME(all_reals)(float x) { return vdupq_n_f32(x); }
INLINE reals NAME(times_reals)(reals x, reals y) { return vmulq_f32(x, y); }
INLINE reals NAME(plus_product)(reals x, reals y, reals z) { return vfmaq_f32(z, x, y); }
INLINE reals NAME(less_product)(reals x, reals y, reals z) { return vfmsq_f32(z, x, y); }
INLINE reals NAME(reals_of)(words x) { return vcvtq_f32_s32(x); }
INLINE words NAME(load_words)(const void *at) { return vreinterpretq_s32_u8(vld1q_u8(at)); }
INLINE words NAME(all_words)(int32_t x) { return vdupq_n_s32(x); }
INLINE words NAME(all_bytes)(int x) { return vreinterpretq_s32_s8(vdupq_n_s8((int8_t)x)); }
INLINE words NAME(common_bits)(words x, words y) { return vandq_s32(x, y); }
INLINE words NAME(other_bits)(words x, words y) { return veorq_s32(x, y); }
INLINE words NAME(merge)(words low, words high, words mask) { return vorrq_s32(low, vandq_s32(high, mask)); }
INLINE words NAME(moved)(words x, const int by) {
    uint16x8_t halves = vreinterpretq_u16_s32(x);
    return vreinterpretq_s32_u16(by > 0 ? halves << by : halves >> -by);
}

#if IN_PAIRS
INLINE words NAME(pairs)(const int bits, words own, const int8_t *row, const int j) {
    (void)bits;
    int32_t four;
    memcpy(&four, row + 4 * j, 4);
    int8x16_t levels = vreinterpretq_s8_s32(vdupq_n_s32(four)), own_levels = vreinterpretq_s8_s32(own);
    int16x8_t low = vmull_s8(vget_low_s8(own_levels), vget_low_s8(levels)), high = vmull_high_s8(own_levels, levels);
    return vreinterpretq_s32_s16(vpaddq_s16(low, high));
}
INLINE words NAME(add_pairs)(words x, words y) {
    return vreinterpretq_s32_s16(vaddq_s16(vreinterpretq_s16_s32(x), vreinterpretq_s16_s32(y)));
}
INLINE words NAME(add_sums_of_pairs)(words sum, words pairs) { return vpadalq_s16(sum, vreinterpretq_s16_s32(pairs)); }
#else
INLINE words NAME(add_fours)(words sum, words own, const int8_t *row, const int j) {
    int8x16_t levels = vld1q_s8(row + j / 4 * 16), own_levels = vreinterpretq_s8_s32(own);
    switch (j % 4) {
    case 0: return vdotq_laneq_s32(sum, own_levels, levels, 0);
    case 1: return vdotq_laneq_s32(sum, own_levels, levels, 1);
    case 2: return vdotq_laneq_s32(sum, own_levels, levels, 2);
    default: return vdotq_laneq_s32(sum, own_levels, levels, 3);
    }
}
#endif
