/* Products with matrices of GGUF's blocks, at one level of instructions (kernels_level.h).
 *
 * 32 outputs stand together in a panel, a lane an output. For each 32 columns (a chunk) their levels are unpacked into registers of
 * bytes, four columns of an output in a lane, and meet all rows before the next chunk comes. An integer sum over a sub-block of 16 or
 * 32 columns becomes a float by its scales; the order of these additions is the same for all levels of instructions. A type whose
 * levels have an offset (level - 8, say) needs no more operations than one without: a sum starts at -8 times the row's own sum.
 */

/* A chunk of `WIDE` outputs -> levels[j], columns 4 j .. 4 j + 3: unsigned, or signed where SIGNED_BYTES and bits is 8. */
INLINE void NAME(unpack)(const int bits, const uint8_t *plane, words *levels) {
    words fifteen = NAME(all_bytes)(15);
    if (bits == 8) {
#pragma GCC unroll 8
        for (int j = 0; j < 8; j++) {
            levels[j] = NAME(load_words)(plane + LINE * j);
            if (!SIGNED_BYTES) levels[j] = NAME(other_bits)(levels[j], NAME(all_bytes)(-128));
        }
        return;
    }
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        words both = NAME(load_words)(plane + LINE * j);
        levels[j] = NAME(common_bits)(both, fifteen);
        levels[j + 4] = NAME(common_bits)(NAME(moved)(both, -4), fifteen);
    }
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) {
        if (bits == 5) levels[j] = NAME(merge)(levels[j], NAME(moved)(NAME(load_words)(plane + LINE * 4), 4 - j), NAME(all_bytes)(16));
        if (bits == 6)
            levels[j] =
                NAME(merge)(levels[j], NAME(moved)(NAME(load_words)(plane + LINE * (4 + j / 4)), 4 - j % 4 * 2), NAME(all_bytes)(48));
    }
}

/* Adds to each sum the products of 4 x `quads` levels of a row and of each output. */
INLINE void NAME(sub_block)(const int bits, const int quads, words own[][8], const int first, const int8_t *row, words *sums) {
#if IN_PAIRS
    /* Sums of products in 16 bits: 8 x 2 x 15 x 127 fits, 4 x 2 x 31 x 127, 2 x 2 x 63 x 127 and 2 x 128 x 127. */
    const int fit = bits == 4 ? 8 : bits == 5 ? 4 : bits == 6 ? 2 : 1;
#pragma GCC unroll 8
    for (int start = first; start < first + quads; start += fit) {
#pragma GCC unroll 2
        for (int g = 0; g < TOGETHER; g++) {
            words sum = NAME(pairs)(bits, own[g][start], row, start);
#pragma GCC unroll 8
            for (int j = start + 1; j < start + fit; j++) sum = NAME(add_pairs)(sum, NAME(pairs)(bits, own[g][j], row, j));
            sums[g] = NAME(add_sums_of_pairs)(sums[g], sum);
        }
    }
#else
    (void)bits;
#pragma GCC unroll 8
    for (int j = first; j < first + quads; j++) {
#pragma GCC unroll 2
        for (int g = 0; g < TOGETHER; g++) sums[g] = NAME(add_fours)(sums[g], own[g][j], row, j);
    }
#endif
}

/* `count` rows times one panel: -> total [count][PANEL], without the bias; part is room for as much. Chunk c of row r of `levels`,
 * `starts` and `sums` stands at c * count + r, the scale of its group g at g * count + r. */
INLINE void NAME(panel)(
    const struct kind kind, const uint8_t *plane, const uint8_t *scale, long chunks, const int8_t *levels, const int32_t *starts,
    const float *sums, const float *scales, long count, float *part, float *total
) {
    const int header = header_bytes(kind);
    memset(total, 0, (size_t)count * PANEL * sizeof *total);
    for (long first = 0; first < chunks; first += GROUP, scale += header + GROUP * CHUNK_SCALES, scales += count) {
        memset(part, 0, (size_t)count * PANEL * sizeof *part);
        for (long c = first; c < first + GROUP && c < chunks; c++, plane += LINE * kind.bits) {
            const uint8_t *own_scale = scale + header + (c - first) * CHUNK_SCALES;
#pragma GCC unroll 16
            for (int i = 0; i < kind.bits * LINE; i += 64) __builtin_prefetch(plane + PREFETCH + i);
#pragma GCC unroll 4
            for (int start = 0; start < PANEL; start += WIDE * TOGETHER) {
                words own[TOGETHER][8];
                reals by[TOGETHER], second[TOGETHER]; /* the scale of the second sub-block, or of the smallest number */
#pragma GCC unroll 2
                for (int g = 0; g < TOGETHER; g++) {
                    int at = start + g * WIDE;
                    NAME(unpack)(kind.bits, plane + 4 * at, own[g]);
                    second[g] = NAME(all_reals)(0);
                    if (kind.super) {
                        by[g] = NAME(times_reals)(NAME(load_halves)(scale + 2 * at), NAME(load_bytes)(own_scale + at));
                        second[g] = NAME(load_halves)(scale + 2 * at + (kind.mins ? 2 * PANEL : 0));
                        second[g] = NAME(times_reals)(second[g], NAME(load_bytes)(own_scale + PANEL + at));
                    } else by[g] = NAME(load_halves)(own_scale + 2 * at);
                }
                const int8_t *row = levels + c * count * CHUNK;
                float *to = part + start;
                for (long r = 0, i = c * count; r < count; r++, i++, row += CHUNK, to += PANEL) {
                    reals sum[TOGETHER], smallest = NAME(all_reals)(sums[i]);
                    words left[TOGETHER], right[TOGETHER];
                    const int parts = CHUNK / kind.sub, offset = kind.offset && !(SIGNED_BYTES && kind.bits == 8);
#pragma GCC unroll 2
                    for (int g = 0; g < TOGETHER; g++) {
                        left[g] = NAME(all_words)(offset ? starts[parts * i] : 0);
                        right[g] = NAME(all_words)(offset && parts == 2 ? starts[2 * i + 1] : 0);
                    }
                    NAME(sub_block)(kind.bits, 8 / parts, own, 0, row, left);
                    if (parts == 2) NAME(sub_block)(kind.bits, 4, own, 4, row, right);
#pragma GCC unroll 2
                    for (int g = 0; g < TOGETHER; g++) {
                        sum[g] = NAME(plus_product)(NAME(reals_of)(left[g]), by[g], NAME(load_reals)(to + g * WIDE));
                        if (parts == 2) sum[g] = NAME(plus_product)(NAME(reals_of)(right[g]), second[g], sum[g]);
                        if (kind.mins) sum[g] = NAME(less_product)(smallest, second[g], sum[g]);
                        NAME(store_reals)(to + g * WIDE, sum[g]);
                    }
                }
            }
        }
        for (long r = 0; r < count; r++) {
#pragma GCC unroll 4
            for (long at = r * PANEL; at < (r + 1) * PANEL; at += WIDE)
                NAME(store_reals)(total + at, NAME(plus_product)(NAME(load_reals)(part + at), NAME(all_reals)(scales[r]), NAME(load_reals)(total + at)));
        }
    }
}

/* One panel of a matrix of any type: for each type a copy of `panel`. */
static void NAME(panel_of)(const struct blocks *m, long p, const struct rows *x, long first, long count, float *part, float *total) {
    const struct kind kind = kind_of(m->type);
    const uint8_t *plane = m->planes + p * plane_bytes(kind, m->chunks), *scale = m->scales + p * scale_bytes(kind, m->chunks);
    const int8_t *levels = x->levels + first * x->chunks * CHUNK;
    const int32_t *starts = x->starts[kind.start] + first * x->chunks * (CHUNK / kind.sub);
    const float *sums = x->sums + first * x->chunks, *scales = x->scales + first * groups_of(x->chunks);
    switch (m->type) {
#define EACH(name, ...)                                                                                                       \
    case name:                                                                                                                \
        NAME(panel)((struct kind){__VA_ARGS__}, plane, scale, m->chunks, levels, starts, sums, scales, count, part, total); \
        break;
        KINDS(EACH)
#undef EACH
    }
}

static void NAME(times)(const void *arguments, long start, long end) {
    const struct product *a = arguments;
    const struct blocks *m = a->matrix;
    const struct rows *x = &a->x;
    long panels = panels_of(m->outputs);
    for (long unit = start; unit < end; unit++) {
        float part[MOST_ROWS * PANEL], total[MOST_ROWS * PANEL];
        long p = unit % panels, first = unit / panels * x->at_once, count = rows_in_part(x, first);
        long used = m->outputs - p * PANEL < PANEL ? m->outputs - p * PANEL : PANEL;
        NAME(panel_of)(m, p, x, first, count, part, total);
        for (long at = 0; at < used; at += 16) {
            lanes plus = NAME(all)(0);
            long wide = used - at < 16 ? used - at : 16;
            if (a->bias) plus = NAME(load_first)(a->bias + p * PANEL + at, wide);
            for (long r = 0; r < count; r++) {
                float *to = a->out + (first + r) * a->stride + p * PANEL + at;
                lanes y = NAME(add)(NAME(load)(total + r * PANEL + at), plus);
                if (a->add) y = NAME(add)(NAME(load_first)(to, wide), y);
                NAME(store_first)(to, y, wide);
            }
        }
    }
}

/* ---- rounding */

/* Some of a group's numbers x -> levels, the rest 0; returns the scale of a level, which is no number where one of them is none. */
INLINE float NAME(round_group)(const float *x, long there, int8_t *levels) {
    lanes largest = NAME(all)(0), nothing = NAME(all)(0);
    for (long i = 0; i < there; i += 16) {
        lanes some = i + 16 <= there ? NAME(load)(x + i) : NAME(load_first)(x + i, there - i);
        largest = NAME(max)(NAME(absolute)(some), largest);
        nothing = NAME(fma)(some, NAME(all)(0), nothing);
    }
    float amax = NAME(largest)(largest);
    if (amax < TINY) amax = TINY;
    lanes inverse = NAME(all)(127.0f / amax);
    for (long i = 0; i < there; i += 16)
        NAME(store_signed)(levels + i, NAME(mul)(i + 16 <= there ? NAME(load)(x + i) : NAME(load_first)(x + i, there - i), inverse));
    return amax / 127.0f + NAME(sum)(nothing);
}

static void NAME(round)(const void *arguments, long start, long end) {
    const struct rounding *a = arguments;
    const struct rows *to = &a->to;
    long k = a->k;
    for (long row = start; row < end; row++) {
        long first = row / to->at_once * to->at_once, r = row - first, count = rows_in_part(to, first);
        int8_t levels[GROUP * CHUNK];
        for (long c = 0; c < to->chunks; c++) {
            long at = c * CHUNK, i = first * to->chunks + c * count + r;
            if (c % GROUP == 0) {
                memset(levels, 0, sizeof levels);
                long there = k - at < GROUP * CHUNK ? k - at : GROUP * CHUNK;
                to->scales[first * groups_of(to->chunks) + c / GROUP * count + r] = NAME(round_group)(a->x + row * k + at, there, levels);
            }
            const int8_t *own = levels + c % GROUP * CHUNK;
            memcpy(to->levels + i * CHUNK, own, CHUNK);
            int32_t left = 0, right = 0;
            for (int j = 0; j < CHUNK / 2; j++) left += own[j], right += own[j + CHUNK / 2];
            to->sums[i] = (float)(left + right);
            to->starts[FROM_8][i] = -8 * (left + right);
            to->starts[FROM_16][i] = -16 * (left + right);
            to->starts[FROM_128][i] = -128 * (left + right);
            to->starts[FROM_32_TWICE][2 * i] = -32 * left;
            to->starts[FROM_32_TWICE][2 * i + 1] = -32 * right;
        }
    }
}
