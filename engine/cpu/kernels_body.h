/* The kernels, at one level of instructions. Included once for each (kernels.c). */

#if LEVEL >= LEVEL_AVX512
#define ROWS_AT_ONCE 12
#define QUERIES_AT_ONCE 8
#else
#define ROWS_AT_ONCE 3
#define QUERIES_AT_ONCE 4
#endif

/* ---- y = x W^T, x quantised a row at a time */

/* x [k] -> levels [k] from 1 to 255, 128 for zero, padded by 128 to a multiple of four; returns the scale. */
INLINE float NAME(quantise)(const float *x, long k, uint8_t *levels) {
    lanes largest = NAME(all)(0), nothing = NAME(all)(0);
    long i = 0;
    for (; i < k; i += 16) {
        lanes some = i + 16 <= k ? NAME(load)(x + i) : NAME(load_first)(x + i, k - i);
        largest = NAME(max)(NAME(absolute)(some), largest);
        nothing = NAME(fma)(some, NAME(all)(0), nothing);
    }
    float amax = NAME(largest)(largest);
    if (amax < TINY) amax = TINY;
    float none = NAME(sum)(nothing); /* no number where an input is none: the scale hands it on */
    lanes inverse = NAME(all)(127.0f / amax), half = NAME(all)(128.5f);
    for (i = 0; i + 16 <= k; i += 16) NAME(store_levels)(levels + i, NAME(fma)(NAME(load)(x + i), inverse, half));
    if (i < k) {
        uint8_t last[16];
        NAME(store_levels)(last, NAME(fma)(NAME(load_first)(x + i, k - i), inverse, half));
        memcpy(levels + i, last, (size_t)(padded(k) - i));
    }
    return amax / 127.0f + none;
}

/* Sixteen of a panel's outputs, of which `used` are there, for `count` rows. */
INLINE void NAME(finish)(
    const int count, const ints *sum, const float *scales, const float *step, const float *bias, float *out, long n, long used
) {
    lanes by = NAME(load)(step), plus = NAME(all)(0);
    if (bias) plus = used < 16 ? NAME(load_first)(bias, used) : NAME(load)(bias);
#pragma GCC unroll 12
    for (int r = 0; r < count; r++) {
        lanes y = NAME(fma)(NAME(mul)(NAME(floats)(sum[r]), by), NAME(all)(scales[r]), plus);
        if (used < 16) NAME(store_first)(out + r * n, y, used);
        else NAME(store)(out + r * n, y);
    }
}

/* `count` rows of levels times one panel, whose first `wide` outputs are there. */
INLINE void NAME(rows_times_panel)(
    const int count, const uint8_t *levels, const float *scales, const int8_t *panel, const int32_t *start, const float *step,
    const float *bias, float *out, long k, long n, long wide
) {
    long steps = padded(k) / 4;
    ints left[ROWS_AT_ONCE], right[ROWS_AT_ONCE];
#pragma GCC unroll 12
    for (int r = 0; r < count; r++) {
        left[r] = NAME(load_ints)(start);
        right[r] = NAME(load_ints)(start + 16);
    }
    for (long i = 0; i < steps; i++) {
        _mm_prefetch((const char *)(panel + 128 * i + PREFETCH), _MM_HINT_T0);
        _mm_prefetch((const char *)(panel + 128 * i + PREFETCH + 64), _MM_HINT_T0);
#pragma GCC unroll 12
        for (int r = 0; r < count; r++) {
            int32_t q;
            memcpy(&q, levels + r * 4 * steps + 4 * i, 4);
            left[r] = NAME(dot)(left[r], q, panel + 128 * i);
            right[r] = NAME(dot)(right[r], q, panel + 128 * i + 64);
        }
    }
    NAME(finish)(count, left, scales, step, bias, out, n, wide < 16 ? wide : 16);
    if (wide > 16) NAME(finish)(count, right, scales, step + 16, bias ? bias + 16 : NULL, out + 16, n, wide - 16);
}

static void NAME(linear)(
    const float *x, long rows, long k, const int8_t *packed, const int32_t *starts, const float *steps, const float *bias, float *out,
    long n, int threads
) {
    long stride = padded(k), panels = (n + OLD_PANEL - 1) / OLD_PANEL;
    /* As many rows at once as leave room for a panel in the second cache. */
    long part = CACHED_LEVELS / stride / ROWS_AT_ONCE * ROWS_AT_ONCE;
    if (part < ROWS_AT_ONCE) part = ROWS_AT_ONCE;
    if (part > rows) part = rows;
    uint8_t *levels = aligned_alloc(64, (size_t)((part * stride + 64 + 63) / 64 * 64));
    float *scales = malloc((size_t)part * sizeof(float));
    if (threads > panels) threads = (int)panels;
    if (rows * k * n < SMALL_WORK) threads = 1;
#pragma omp parallel num_threads(threads)
    for (long first = 0; first < rows; first += part) {
        long here = rows - first < part ? rows - first : part;
#pragma omp for schedule(static)
        for (long r = 0; r < here; r++) scales[r] = NAME(quantise)(x + (first + r) * k, k, levels + r * stride);
#pragma omp for schedule(static)
        for (long p = 0; p < panels; p++) {
            long wide = n - p * OLD_PANEL < OLD_PANEL ? n - p * OLD_PANEL : OLD_PANEL;
            for (long r = 0; r < here;) {
#define TIMES(count)                                                                                                              \
    NAME(rows_times_panel)(count, levels + r * stride, scales + r, packed + p * OLD_PANEL * stride, starts + p * OLD_PANEL,                \
                           steps + p * OLD_PANEL, bias ? bias + p * OLD_PANEL : NULL, out + (first + r) * n + p * OLD_PANEL, k, n, wide);      \
    r += count
                long left = here - r;
#if ROWS_AT_ONCE == 12
                if (left >= 12) { TIMES(12); }
                else if (left >= 8) { TIMES(8); }
                else if (left >= 6) { TIMES(6); }
                else if (left >= 4) { TIMES(4); }
                else
#endif
                if (left >= 3) { TIMES(3); }
                else if (left == 2) { TIMES(2); }
                else { TIMES(1); }
#undef TIMES
            }
        }
    }
    free(scales);
    free(levels);
}

/* ---- what is between the products */

static void NAME(rms_norm)(const float *x, const float *weight, float epsilon, float *out, long rows, long k, int threads) {
    if (rows * k < SMALL_ROWS) threads = 1;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long r = 0; r < rows; r++) {
        const float *in = x + r * k;
        float *to = out + r * k;
        lanes squares = NAME(all)(0);
        long i = 0;
        for (; i + 16 <= k; i += 16) squares = NAME(fma)(NAME(load)(in + i), NAME(load)(in + i), squares);
        if (i < k) squares = NAME(fma)(NAME(load_first)(in + i, k - i), NAME(load_first)(in + i, k - i), squares);
        lanes by = NAME(all)(1.0f / sqrtf(NAME(sum)(squares) / (float)k + epsilon));
        for (i = 0; i + 16 <= k; i += 16) NAME(store)(to + i, NAME(mul)(NAME(mul)(NAME(load)(in + i), by), NAME(load)(weight + i)));
        if (i < k)
            NAME(store_first)(to + i, NAME(mul)(NAME(mul)(NAME(load_first)(in + i, k - i), by), NAME(load_first)(weight + i, k - i)), k - i);
    }
}

INLINE lanes NAME(gated)(lanes gate, lanes up) {
    lanes below = NAME(add)(NAME(all)(1), NAME(exponential)(NAME(sub)(NAME(all)(0), gate)));
    return NAME(mul)(NAME(div)(gate, below), up);
}

static void NAME(silu_mul)(const float *gate_up, float *out, long rows, long k, int threads) {
    if (rows * k < SMALL_ROWS) threads = 1;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long r = 0; r < rows; r++) {
        const float *gate = gate_up + 2 * r * k, *up = gate + k;
        float *to = out + r * k;
        long i = 0;
        for (; i + 16 <= k; i += 16) NAME(store)(to + i, NAME(gated)(NAME(load)(gate + i), NAME(load)(up + i)));
        if (i < k) NAME(store_first)(to + i, NAME(gated)(NAME(load_first)(gate + i, k - i), NAME(load_first)(up + i, k - i)), k - i);
    }
}

static void NAME(rotate)(
    float *x, long tokens, long heads, long token_stride, long head_dim, const float *cosine, const float *sine, long width, int threads
) {
    long half = width / 2;
    if (tokens * heads * head_dim < SMALL_ROWS) threads = 1;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long t = 0; t < tokens; t++) {
        const float *c = cosine + t * width, *s = sine + t * width;
        for (long h = 0; h < heads; h++) {
            float *restrict a = x + t * token_stride + h * head_dim, *restrict b = a + half;
            for (long i = 0; i < half; i++) {
                float low = a[i], high = b[i];
                a[i] = fmaf(low, c[i], -(high * s[i]));
                b[i] = fmaf(high, c[half + i], low * s[half + i]);
            }
        }
    }
}

/* ---- attention of one token a row to a prompt and to the row's own path */

/* `count` queries [count][16 x chunks] that share keys: -> out [count][head_dim]. `scores` [keys][8]. */
INLINE void NAME(attend_to_keys)(
    const int count, const float *queries, long head_dim, const float *const *keys, const float *const *values, long n, float *scores,
    float *out
) {
    long chunks = (head_dim + 15) / 16, tail = head_dim % 16;
    lanes largest = NAME(all)(-INFINITY);
    for (long j = 0; j < n; j++) {
        lanes sum[8];
#pragma GCC unroll 8
        for (int q = 0; q < 8; q++) sum[q] = NAME(all)(0);
        for (long c = 0; c < chunks; c++) {
            lanes key = tail && c == chunks - 1 ? NAME(load_first)(keys[j] + 16 * c, tail) : NAME(load)(keys[j] + 16 * c);
#pragma GCC unroll 8
            for (int q = 0; q < count; q++) sum[q] = NAME(fma)(NAME(load)(queries + (q * chunks + c) * 16), key, sum[q]);
        }
        NAME(eight_sums)(scores + 8 * j, sum);
    }
    /* Two keys a register; an odd last one has an empty neighbour. */
    if (n % 2) for (int q = 0; q < 8; q++) scores[8 * n + q] = -INFINITY;
    for (long j = 0; j < n; j += 2) largest = NAME(max)(NAME(load)(scores + 8 * j), largest);
    float both[16], total[8];
    NAME(store)(both, largest);
    for (int q = 0; q < 8; q++) both[q] = both[8 + q] = both[q] > both[8 + q] ? both[q] : both[8 + q];
    largest = NAME(load)(both);
    lanes sums = NAME(all)(0);
    for (long j = 0; j < n; j += 2) {
        lanes weight = NAME(exponential)(NAME(sub)(NAME(load)(scores + 8 * j), largest));
        NAME(store)(scores + 8 * j, weight);
        if (j + 1 == n) weight = NAME(load_first)(scores + 8 * j, 8);
        sums = NAME(add)(sums, weight);
    }
    NAME(store)(both, sums);
    for (int q = 0; q < 8; q++) total[q] = 1.0f / (both[q] + both[8 + q]);
    for (long c = 0; c < chunks; c++) {
        lanes sum[8];
#pragma GCC unroll 8
        for (int q = 0; q < count; q++) sum[q] = NAME(all)(0);
        int partly = tail && c == chunks - 1;
        for (long j = 0; j < n; j++) {
            lanes value = partly ? NAME(load_first)(values[j] + 16 * c, tail) : NAME(load)(values[j] + 16 * c);
#pragma GCC unroll 8
            for (int q = 0; q < count; q++) sum[q] = NAME(fma)(NAME(all)(scores[8 * j + q]), value, sum[q]);
        }
#pragma GCC unroll 8
        for (int q = 0; q < count; q++) {
            lanes y = NAME(mul)(sum[q], NAME(all)(total[q]));
            if (partly) NAME(store_first)(out + q * head_dim + 16 * c, y, tail);
            else NAME(store)(out + q * head_dim + 16 * c, y);
        }
    }
}

static void NAME(attend)(const struct attention *a, float *out, int threads) {
    long shared = a->heads / a->kv_heads, chunks = (a->head_dim + 15) / 16, cell = 2 * a->kv_heads * a->head_dim;
    long longest = 0, most = 0;
    for (long g = 0; g < a->groups; g++) most = a->prompt_tokens[g] > most ? a->prompt_tokens[g] : most;
    for (long r = 0; r < a->rows; r++) longest = a->lengths[r] > longest ? a->lengths[r] : longest;
    longest += most;
    if (threads > a->rows * a->kv_heads) threads = (int)(a->rows * a->kv_heads);
#pragma omp parallel num_threads(threads)
    {
        /* A pass writes the keys and values of all its rows before any row reads its path. */
#pragma omp for schedule(static)
        for (long r = 0; r < a->rows; r++) {
            float *to = a->cells + a->slots[r] * cell;
            for (long h = 0; h < a->kv_heads; h++) {
                size_t size = (size_t)a->head_dim * sizeof(float);
                memcpy(to + h * a->head_dim, a->key + r * a->key_row + h * a->key_head, size);
                memcpy(to + (a->kv_heads + h) * a->head_dim, a->value + r * a->value_row + h * a->value_head, size);
            }
        }
        float *scores = aligned_alloc(64, (size_t)((longest + 2) * 8 * 4 + 63) / 64 * 64);
        float *queries = aligned_alloc(64, (size_t)(8 * chunks * 16 * 4));
        const float **keys = malloc((size_t)longest * 2 * sizeof(float *)), **values = keys + longest;
#pragma omp for schedule(dynamic, 1)
        for (long unit = 0; unit < a->rows * a->kv_heads; unit++) {
            long r = unit / a->kv_heads, h = unit % a->kv_heads, g = a->group_of_row[r], n = 0;
            for (long t = 0; t < a->prompt_tokens[g]; t++, n++) {
                keys[n] = a->prompt_keys[g] + h * a->prompt_head[g] + t * a->head_dim;
                values[n] = a->prompt_values[g] + h * a->prompt_head[g] + t * a->head_dim;
            }
            for (long t = 0; t < a->lengths[r]; t++, n++) {
                keys[n] = a->cells + a->paths[r * a->path_stride + t] * cell + h * a->head_dim;
                values[n] = keys[n] + a->kv_heads * a->head_dim;
            }
            for (long first = 0; first < shared;) {
                long left = shared - first;
                int count = left >= QUERIES_AT_ONCE ? QUERIES_AT_ONCE : left >= 4 ? 4 : left >= 2 ? 2 : 1;
                if (QUERIES_AT_ONCE == 8 && left == 7) count = 7;
                if (QUERIES_AT_ONCE == 4 && left == 3) count = 3;
                for (int q = 0; q < count; q++) {
                    const float *from = a->query + r * a->query_row + (h * shared + first + q) * a->query_head;
                    for (long i = 0; i < 16 * chunks; i++) queries[q * 16 * chunks + i] = i < a->head_dim ? from[i] * a->scale : 0;
                }
                float *to = out + (r * a->heads + h * shared + first) * a->head_dim;
#define ATTEND(number) NAME(attend_to_keys)(number, queries, a->head_dim, keys, values, n, scores, to)
                switch (count) {
#if QUERIES_AT_ONCE == 8
                case 8: ATTEND(8); break;
                case 7: ATTEND(7); break;
#endif
                case 4: ATTEND(4); break;
                case 3: ATTEND(3); break;
                case 2: ATTEND(2); break;
                default: ATTEND(1);
                }
#undef ATTEND
                first += count;
            }
        }
        free(keys);
        free(queries);
        free(scores);
    }
}

/* ---- logits */

/* Of each row: its largest x, the sums of e^(x - largest), of e^((x - largest) inverse) and of (x - largest) e^(x - largest), and
 * the sum of x: sums [5] a row. */
static void NAME(sum_up)(const float *logits, long rows, long n, float inverse, float *out, int threads) {
    if (rows * n < SMALL_ROWS) threads = 1;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (long r = 0; r < rows; r++) {
        const float *x = logits + r * n;
        lanes most = NAME(all)(x[0]), all = NAME(all)(0);
        long whole = n / 16 * 16;
        for (long i = 0; i < whole; i += 16) {
            most = NAME(max)(NAME(load)(x + i), most);
            all = NAME(add)(all, NAME(load)(x + i));
        }
        float largest = NAME(largest)(most), sum = NAME(sum)(all);
        for (long i = whole; i < n; i++) {
            largest = x[i] > largest ? x[i] : largest;
            sum += x[i];
        }
        lanes plain = NAME(all)(0), tempered = NAME(all)(0), weighted = NAME(all)(0);
        for (long i = 0; i < n; i += 16) {
            lanes off;
            if (i < whole) off = NAME(sub)(NAME(load)(x + i), NAME(all)(largest));
            else {
                float last[16];
                for (int j = 0; j < 16; j++) last[j] = i + j < n ? x[i + j] - largest : -INFINITY;
                off = NAME(max)(NAME(load)(last), NAME(all)(-1e4f));
            }
            lanes e = NAME(exponential)(off);
            plain = NAME(add)(plain, e);
            weighted = NAME(fma)(e, off, weighted);
            if (inverse != 1) tempered = NAME(add)(tempered, NAME(exponential)(NAME(mul)(off, NAME(all)(inverse))));
        }
        float *to = out + 5 * r;
        to[0] = largest;
        to[1] = NAME(sum)(plain);
        to[2] = inverse == 1 ? to[1] : NAME(sum)(tempered);
        to[3] = NAME(sum)(weighted);
        to[4] = sum;
    }
}

/* The `width` largest of each row with their places, the largest first, the first of equal ones first. */
static void NAME(find_largest)(const float *logits, long rows, long n, long width, float *values, int64_t *places, int threads) {
    if (rows * n < SMALL_ROWS) threads = 1;
    long room = 4 * width + 16;
#pragma omp parallel num_threads(threads)
    {
        struct place *found = malloc((size_t)room * sizeof *found);
#pragma omp for schedule(static)
        for (long r = 0; r < rows; r++) {
            const float *x = logits + r * n;
            float limit = -INFINITY; /* of what is found, the last that can still be among the largest */
            long count = 0;
            for (long i = 0; i < n; i += 16) {
                if (count + 16 > room) {
                    qsort(found, (size_t)count, sizeof *found, larger_first);
                    count = width;
                    limit = found[width - 1].value;
                }
                if (i + 16 <= n) {
                    for (unsigned bits = NAME(above)(NAME(load)(x + i), NAME(all)(limit)); bits; bits &= bits - 1) {
                        long at = i + __builtin_ctz(bits);
                        found[count++] = (struct place){x[at], (int32_t)at};
                    }
                } else {
                    for (long at = i; at < n; at++)
                        if (x[at] > limit) found[count++] = (struct place){x[at], (int32_t)at};
                }
            }
            for (; count < width; count++) found[count] = (struct place){-INFINITY, 0}; /* what is no number is not found */
            qsort(found, (size_t)count, sizeof *found, larger_first);
            for (long i = 0; i < width; i++) {
                values[r * width + i] = found[i].value;
                places[r * width + i] = found[i].place;
            }
        }
        free(found);
    }
}
