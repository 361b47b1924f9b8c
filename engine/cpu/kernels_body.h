/* What is between the products, attention and sampling, at one level of instructions (kernels_level.h). */

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

/* ---- what is between the products */

static void NAME(rms_norm)(const void *arguments, long first, long end) {
    const struct norm *a = arguments;
    const float *weight = a->weight;
    long k = a->k;
    for (long r = first; r < end; r++) {
        const float *in = a->x + r * k;
        float *to = a->out + r * k;
        lanes squares = NAME(all)(0);
        long i = 0;
        for (; i + 16 <= k; i += 16) squares = NAME(fma)(NAME(load)(in + i), NAME(load)(in + i), squares);
        if (i < k) squares = NAME(fma)(NAME(load_first)(in + i, k - i), NAME(load_first)(in + i, k - i), squares);
        lanes by = NAME(all)(1.0f / sqrtf(NAME(sum)(squares) / (float)k + a->epsilon));
        for (i = 0; i + 16 <= k; i += 16) NAME(store)(to + i, NAME(mul)(NAME(mul)(NAME(load)(in + i), by), NAME(load)(weight + i)));
        if (i < k)
            NAME(store_first)(to + i, NAME(mul)(NAME(mul)(NAME(load_first)(in + i, k - i), by), NAME(load_first)(weight + i, k - i)), k - i);
    }
}

INLINE lanes NAME(gated)(lanes gate, lanes up) {
    lanes below = NAME(add)(NAME(all)(1), NAME(exponential)(NAME(sub)(NAME(all)(0), gate)));
    return NAME(mul)(NAME(div)(gate, below), up);
}

static void NAME(silu_mul)(const void *arguments, long first, long end) {
    const struct gate *a = arguments;
    long k = a->k;
    for (long r = first; r < end; r++) {
        const float *gate = a->gate_up + 2 * r * k, *up = gate + k;
        float *to = a->out + r * k;
        long i = 0;
        for (; i + 16 <= k; i += 16) NAME(store)(to + i, NAME(gated)(NAME(load)(gate + i), NAME(load)(up + i)));
        if (i < k) NAME(store_first)(to + i, NAME(gated)(NAME(load_first)(gate + i, k - i), NAME(load_first)(up + i, k - i)), k - i);
    }
}

static void NAME(rotate)(const void *arguments, long first, long end) {
    const struct rotation *given = arguments;
    long width = given->width, half = width / 2;
    for (long t = first; t < end; t++) {
        const float *c = given->cosine + t * width, *s = given->sine + t * width;
        for (long h = 0; h < given->heads; h++) {
            float *restrict a = given->x + t * given->token_stride + h * given->head_dim, *restrict b = a + half;
            for (long i = 0; i < half; i++) {
                float low = a[i], high = b[i];
                a[i] = fmaf(low, c[i], -(high * s[i]));
                b[i] = fmaf(high, c[half + i], low * s[half + i]);
            }
        }
    }
}

/* ---- keys and values in 16 bits */

#define LARGEST_HALF 65504.0f

INLINE void NAME(store_half)(uint16_t *to, lanes x, long n) {
    uint16_t some[16];
    x = NAME(max)(NAME(all)(-LARGEST_HALF), NAME(min)(NAME(all)(LARGEST_HALF), x)); /* in this order NaN stays NaN */
    NAME(store_16_bits)(n < 16 ? some : to, x);
    if (n < 16) memcpy(to, some, (size_t)n * sizeof *to);
}

INLINE lanes NAME(load_half)(const uint16_t *from, long n) {
    uint16_t some[16] = {0};
    if (n < 16) memcpy(some, from, (size_t)n * sizeof *from);
    return NAME(load_16_bits)(n < 16 ? some : from);
}

INLINE lanes NAME(load_part)(const float *from, long n) { return n < 16 ? NAME(load_first)(from, n) : NAME(load)(from); }

/* Rounds tokens' keys and values to what 16 bits hold, in place. */
static void NAME(halve)(const void *arguments, long first, long end) {
    const struct kept *a = arguments;
    for (long t = first; t < end; t++)
        for (long i = 0, left = a->count; left > 0; i += 16, left -= 16) {
            uint16_t half[16];
            float *x = a->x + t * a->stride + i;
            NAME(store_half)(half, NAME(load_part)(x, left), 16);
            if (left < 16) NAME(store_first)(x, NAME(load_half)(half, 16), left);
            else NAME(store)(x, NAME(load_half)(half, 16));
        }
}

/* ---- attention of one token a row to a prompt and to the row's own path */

/* Sixteen numbers of a key or value from its i-th on, or the `n` that are left. */
INLINE lanes NAME(load_kept)(const int half, const char *from, long i, long n) {
    return half ? NAME(load_half)((const uint16_t *)from + i, n) : NAME(load_part)((const float *)from + i, n);
}

/* `count` queries [count][16 x chunks] that share keys: -> out [count][head_dim]. `scores` [keys][8]. */
INLINE void NAME(attend_to_keys)(
    const int half, const int count, const float *queries, long head_dim, const char *const *keys, const char *const *values, long n,
    float *scores, float *out
) {
    long chunks = (head_dim + 15) / 16, tail = head_dim % 16;
    lanes largest = NAME(all)(-INFINITY);
    for (long j = 0; j < n; j++) {
        lanes sum[8];
#pragma GCC unroll 8
        for (int q = 0; q < 8; q++) sum[q] = NAME(all)(0);
        for (long c = 0; c < chunks; c++) {
            lanes key = NAME(load_kept)(half, keys[j], 16 * c, tail && c == chunks - 1 ? tail : 16);
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
            lanes value = NAME(load_kept)(half, values[j], 16 * c, partly ? tail : 16);
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

/* A step writes the keys and values of all its rows before any row reads its path. */
static void NAME(keep)(const void *arguments, long first, long end) {
    const struct attention *a = arguments;
    for (long r = first; r < end; r++)
        for (long h = 0; h < 2 * a->kv_heads; h++) {
            long of = h % a->kv_heads, to = (a->slots[r] * 2 * a->kv_heads + h) * a->head_dim;
            const float *from = h < a->kv_heads ? a->key + r * a->key_row + of * a->key_head : a->value + r * a->value_row + of * a->value_head;
            if (!a->half) memcpy((float *)a->cells + to, from, (size_t)a->head_dim * sizeof(float));
            else for (long i = 0, left = a->head_dim; left > 0; i += 16, left -= 16)
                NAME(store_half)((uint16_t *)a->cells + to + i, NAME(load_part)(from + i, left), left);
        }
}

/* A unit is a row with one of its heads for keys and values. */
INLINE void NAME(attend_to_kept)(const int half, const struct attention *a, long first, long end) {
    long shared = a->heads / a->kv_heads, chunks = (a->head_dim + 15) / 16, size = half ? 2 : 4, width = a->head_dim * size;
    float *queries = aligned_alloc(64, (size_t)(8 * chunks * 16 * 4));
    for (long unit = first; unit < end; unit++) {
        long r = unit / a->kv_heads, h = unit % a->kv_heads, g = a->group_of_row[r], n = 0;
        long most = a->prompt_tokens[g] + a->lengths[r];
        float *scores = aligned_alloc(64, (size_t)((most + 2) * 8 * 4 + 63) / 64 * 64);
        const char **keys = malloc((size_t)most * 2 * sizeof(char *)), **values = keys + most;
        for (long t = 0; t < a->prompt_tokens[g]; t++, n++) {
            keys[n] = (const char *)a->prompt_keys[g] + h * a->prompt_head[g] * size + t * width;
            values[n] = (const char *)a->prompt_values[g] + h * a->prompt_head[g] * size + t * width;
        }
        for (long t = 0; t < a->lengths[r]; t++, n++) {
            keys[n] = (const char *)a->cells + (a->paths[r * a->path_stride + t] * 2 * a->kv_heads + h) * width;
            values[n] = keys[n] + a->kv_heads * width;
        }
        for (long head = 0; head < shared;) {
            long left = shared - head;
            int count = left >= QUERIES_AT_ONCE ? QUERIES_AT_ONCE : left >= 4 ? 4 : left >= 2 ? 2 : 1;
            if (QUERIES_AT_ONCE == 8 && left == 7) count = 7;
            if (QUERIES_AT_ONCE == 4 && left == 3) count = 3;
            for (int q = 0; q < count; q++) {
                const float *from = a->query + r * a->query_row + (h * shared + head + q) * a->query_head;
                for (long i = 0; i < 16 * chunks; i++) queries[q * 16 * chunks + i] = i < a->head_dim ? from[i] * a->scale : 0;
            }
            float *to = a->out + (r * a->heads + h * shared + head) * a->head_dim;
#define ATTEND(number) NAME(attend_to_keys)(half, number, queries, a->head_dim, keys, values, n, scores, to)
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
            head += count;
        }
        free(keys);
        free(scores);
    }
    free(queries);
}

static void NAME(attend)(const void *arguments, long first, long end) {
    const struct attention *a = arguments;
    if (a->half) NAME(attend_to_kept)(1, a, first, end);
    else NAME(attend_to_kept)(0, a, first, end);
}

/* ---- logits */

/* Of each row: its largest x, the sums of e^(x - largest), of e^((x - largest) inverse) and of (x - largest) e^(x - largest), and
 * the sum of x: sums [5] a row. */
static void NAME(sum_up)(const void *arguments, long first, long end) {
    const struct summing *a = arguments;
    long n = a->n;
    float inverse = a->inverse;
    for (long r = first; r < end; r++) {
        const float *x = a->logits + r * n;
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
        float *to = a->out + 5 * r;
        to[0] = largest;
        to[1] = NAME(sum)(plain);
        to[2] = inverse == 1 ? to[1] : NAME(sum)(tempered);
        to[3] = NAME(sum)(weighted);
        to[4] = sum;
    }
}

/* The `width` largest of each row with their places, the largest first, the first of equal ones first. */
static void NAME(find_largest)(const void *arguments, long first, long end) {
    const struct search *a = arguments;
    long n = a->n, width = a->width, room = 4 * width + 16;
    struct place *found = malloc((size_t)room * sizeof *found);
    for (long r = first; r < end; r++) {
        const float *x = a->logits + r * n;
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
            a->values[r * width + i] = found[i].value;
            a->places[r * width + i] = found[i].place;
        }
    }
    free(found);
}
