/* Prints what the kernels compute from made-up numbers, a line a result and level of instructions: level, name, digest of the bits.
 * Whatever compiled the kernels and wherever they run, the lines of all levels are the same (test_compilers.py).
 */

#include "kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS 2
#define HIGHEST_LEVEL 9

static int level;
static uint64_t state;

static uint32_t any_bits(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 32);
}

/* New numbers in [-1, 1) times `size`. */
static float *numbers(long n, float size) {
    float *x = malloc((size_t)n * sizeof *x);
    for (long i = 0; i < n; i++) x[i] = (float)(int32_t)any_bits() * 0x1p-31f * size;
    return x;
}

static float *zeros(long n) { return calloc((size_t)n, sizeof(float)); }

/* What is no number has many bits, and which of them come is the processor's choice. */
static void tell(const char *name, const float *x, long n) {
    uint64_t digest = 14695981039346656037u;
    for (long i = 0; i < n; i++) {
        uint32_t bits = 0x7fc00000;
        if (!isnan(x[i])) memcpy(&bits, x + i, 4);
        digest = (digest ^ bits) * 1099511628211u;
    }
    printf("%d %s %016llx\n", level, name, (unsigned long long)digest);
}

/* ---- products */

static const struct stored {
    const char *name;
    long type, columns, bytes, halves[2]; /* of a block; where its float16 scales are */
} TYPES[] = {
    {"Q4_0", Q4_0, 32, 18, {0, 0}},    {"Q5_0", Q5_0, 32, 22, {0, 0}},    {"Q8_0", Q8_0, 32, 34, {0, 0}},
    {"Q4_K", Q4_K, 256, 144, {0, 2}}, {"Q5_K", Q5_K, 256, 176, {0, 2}}, {"Q6_K", Q6_K, 256, 210, {208, 208}},
};

/* A matrix of any bits at all, but for scales, which are below 2. */
static struct blocks matrix(const struct stored *of, long outputs, long columns) {
    long across = (columns + of->columns - 1) / of->columns, blocks = outputs * across;
    struct blocks made = {of->type, outputs, (columns + 31) / 32, NULL, NULL};
    uint8_t *raw = malloc((size_t)(blocks * of->bytes));
    for (long i = 0; i < blocks * of->bytes; i++) raw[i] = (uint8_t)any_bits();
    for (long b = 0; b < blocks; b++)
        for (int h = 0; h < 2; h++) raw[b * of->bytes + of->halves[h] + 1] &= 0xbf;
    made.planes = calloc(1, (size_t)gg_plane_bytes(of->type, outputs, made.chunks));
    made.scales = calloc(1, (size_t)gg_scale_bytes(of->type, outputs, made.chunks));
    gg_pack(&made, raw, outputs, 0, THREADS);
    free(raw);
    return made;
}

static void drop(struct blocks *m) {
    free(m->planes);
    free(m->scales);
}

static void multiply(const struct stored *of, long rows) {
    long outputs = 70, columns = of->columns == 32 ? 1000 : 1792;
    struct blocks m = matrix(of, outputs, columns);
    float *x = numbers(rows * columns, 1), *bias = numbers(outputs, 100), *out = zeros(rows * outputs), *read = zeros(9 * columns);
    char *memory = malloc((size_t)gg_rounded_bytes(rows, m.chunks)), name[40];
    const int64_t some[9] = {0, 69, 1, 31, 32, 33, 63, 64, 5};
    for (long r = 0; r < rows; r++)
        for (long i = 0; i < columns; i++) x[r * columns + i] = r == 2 ? 0 : ldexpf(x[r * columns + i], (int)(r % 40 - 20));
    if (rows > 4) x[3 * columns + 500] = NAN, x[4 * columns + 999] = INFINITY;
    gg_round(x, rows, columns, memory, THREADS);
    gg_times(&m, memory, rows, bias, out, outputs, THREADS);
    snprintf(name, sizeof name, "%s:%ld", of->name, rows);
    tell(name, out, rows * outputs);
    gg_rows(&m, some, 9, read, columns, THREADS);
    snprintf(name, sizeof name, "%s:read", of->name);
    tell(name, read, 9 * columns);
    drop(&m), free(x), free(bias), free(out), free(read), free(memory);
}

/* ---- a layer */

static void go_through_a_layer(long rows) {
    struct blocks qk = matrix(&TYPES[3], 384, 256), v = matrix(&TYPES[5], 128, 256), o = matrix(&TYPES[1], 256, 256);
    struct blocks gate_up = matrix(&TYPES[3], 1024, 256), down = matrix(&TYPES[5], 256, 512);
    float *bias = numbers(512, 1), *first = numbers(256, 1), *second = numbers(256, 1), *heads = numbers(128, 1);
    float *hidden = numbers(rows * 256, 3), *cosine = numbers(rows * 48, 1), *sine = numbers(rows * 48, 1);
    float *qkv = zeros(rows * 512), *out = zeros(rows * 256);
    struct layer layer = {
        .qkv = {.parts = {&qk, &v}, .columns = {0, 384}, .count = 2, .inputs = 256, .outputs = 512, .bias = bias},
        .o = {.parts = {&o}, .count = 1, .inputs = 256, .outputs = 256},
        .gate_up = {.parts = {&gate_up}, .count = 1, .inputs = 256, .outputs = 1024},
        .down = {.parts = {&down}, .count = 1, .inputs = 512, .outputs = 256},
        .attention_norm = first, .mlp_norm = second, .query_norm = heads, .key_norm = heads + 64,
        .epsilon = 1e-6f, .heads = 4, .kv_heads = 2, .head_dim = 64,
    };
    gg_before_attention(&layer, hidden, rows, cosine, sine, 48, qkv, THREADS);
    tell("layer:before", qkv, rows * 512);
    gg_after_attention(&layer, qkv, hidden, rows, out, THREADS);
    tell("layer:after", out, rows * 256);
    drop(&qk), drop(&v), drop(&o), drop(&gate_up), drop(&down);
    free(bias), free(first), free(second), free(heads), free(hidden), free(cosine), free(sine), free(qkv), free(out);
}

/* ---- what is between products */

static void norm_and_gate(long rows, long k) {
    float *x = numbers(rows * 2 * k, 90), *weight = numbers(k, 2), *out = zeros(rows * 2 * k);
    x[3] = NAN, x[2 * k + 1] = INFINITY;
    gg_rms_norm(x, weight, 1e-5f, out, 2 * rows, k, THREADS);
    tell("norm", out, rows * 2 * k);
    gg_silu_mul(x, out, rows, k, THREADS);
    tell("gate", out, rows * k);
    free(x), free(weight), free(out);
}

/* New numbers of 32 bits in [-2, 2), or of 16 bits below 2. */
static void *kept_numbers(long n, int half) {
    uint16_t *x = half ? malloc((size_t)n * sizeof *x) : NULL;
    for (long i = 0; half && i < n; i++) x[i] = (uint16_t)(any_bits() & 0xbfff);
    return half ? (void *)x : numbers(n, 2);
}

/* Rows below two prompts, each with a path of its own length. */
static void attend(long heads, long kv_heads, long head_dim, int half) {
    enum { ROWS = 5, LONGEST = 6, SLOTS = 40, TOKENS = 9 };
    long cell = 2 * kv_heads * head_dim, q = heads * head_dim, kv = kv_heads * head_dim;
    float *query = numbers(ROWS * q, 2), *key = numbers(ROWS * kv, 2), *value = numbers(ROWS * kv, 2);
    char *prompts = kept_numbers(4 * TOKENS * kv, half);
    float *cells = kept_numbers(SLOTS * cell, half), *out = zeros(ROWS * q);
    long prompt = TOKENS * kv * (half ? 2 : 4);
    int64_t slots[ROWS], paths[ROWS * LONGEST], lengths[ROWS], groups[ROWS] = {0, 0, 1, 1, 0};
    const void *keys[] = {prompts, prompts + prompt}, *values[] = {prompts + 2 * prompt, prompts + 3 * prompt};
    const int64_t apart[] = {TOKENS * head_dim, TOKENS * head_dim}, tokens[] = {TOKENS, 4};
    for (int r = 0; r < ROWS; r++) {
        slots[r] = r, lengths[r] = 1 + r;
        for (int t = 0; t < LONGEST; t++) paths[r * LONGEST + t] = t == r ? r : (int)(ROWS + any_bits() % (SLOTS - ROWS));
    }
    struct attention a = {
        .rows = ROWS, .heads = heads, .kv_heads = kv_heads, .head_dim = head_dim, .groups = 2, .path_stride = LONGEST, .half = half,
        .scale = 0.3f,
        .query = query, .key = key, .value = value,
        .query_row = q, .query_head = head_dim, .key_row = kv, .key_head = head_dim, .value_row = kv, .value_head = head_dim,
        .cells = cells, .slots = slots, .paths = paths, .lengths = lengths, .group_of_row = groups,
        .prompt_keys = keys, .prompt_values = values, .prompt_head = apart, .prompt_tokens = tokens, .out = out,
    };
    value[1] = 1e6f; /* more than 16 bits hold */
    gg_attend(&a, THREADS);
    tell("attention", out, ROWS * q);
    tell("cells", cells, half ? SLOTS * cell / 2 : SLOTS * cell);
    free(query), free(key), free(value), free(prompts), free(cells), free(out);
}

static void sample(long rows, long n, float inverse) {
    enum { WIDTH = 7 };
    float *logits = numbers(rows * n, 20), *out = zeros(rows * (5 + 2 * WIDTH));
    int64_t *places = malloc((size_t)(rows * WIDTH) * sizeof *places);
    gg_sum_up(logits, rows, n, inverse, out, THREADS);
    for (long i = 0; i < rows * n; i++) logits[i] = rintf(logits[i]); /* many are equal */
    logits[5] = NAN;
    gg_find_largest(logits, rows, n, WIDTH, out + 5 * rows, places, THREADS);
    for (long i = 0; i < rows * WIDTH; i++) out[(5 + WIDTH) * rows + i] = (float)places[i];
    tell("logits", out, rows * (5 + 2 * WIDTH));
    free(logits), free(out), free(places);
}

static void compute_everything(void) {
    static const long rows[] = {1, 5, 50}, sizes[] = {5, 16, 50, 896};
    static const long heads[][3] = {{14, 2, 64}, {12, 12, 20}, {16, 2, 128}, {3, 1, 8}, {12, 1, 16}, {5, 1, 40}};
    state = 1;
    for (size_t t = 0; t < sizeof TYPES / sizeof *TYPES; t++)
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) multiply(&TYPES[t], rows[i]);
    go_through_a_layer(9);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) norm_and_gate(6, sizes[i]);
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        for (int half = 0; half < 2; half++) attend(heads[i][0], heads[i][1], heads[i][2], half);
    sample(3, 10, 1);
    sample(3, 1000, 1.25f);
}

int main(void) {
    for (level = 1; level <= HIGHEST_LEVEL; level++)
        if (gg_has(level)) {
            gg_use(level);
            compute_everything();
        }
    return 0;
}
