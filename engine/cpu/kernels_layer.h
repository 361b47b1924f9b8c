/* A decoder layer but for its attention, in two calls: what is before it and what is behind it (layer_kernel.py). */

#define BLOCK_ROWS 192

static void *room(size_t bytes) { return aligned_alloc(64, (bytes + 63) / 64 * 64); }

/* out [rows, outputs] = x W^T + bias or, to add to what is there, out + x W^T + bias. */
static void multiply(const struct linear *w, const float *x, long rows, float *out, int add, int threads) {
    struct rounding rounded = {x, w->inputs, {0}};
    long chunks = w->parts[0]->chunks;
    char *memory = room(lay_out(&rounded.to, rows, chunks, NULL));
    lay_out(&rounded.to, rows, chunks, memory);
    in_pieces(chosen->round, &rounded, rows, w->inputs, PIECE, threads);
    for (long i = 0; i < w->count; i++) {
        struct product a = {w->parts[i], rounded.to, w->bias ? w->bias + w->columns[i] : NULL, out + w->columns[i], w->outputs, add};
        times(&a, threads);
    }
    free(memory);
}

static void normalise(const float *x, const float *weight, float epsilon, float *out, long rows, long k, int threads) {
    struct norm a = {x, weight, epsilon, out, k};
    in_pieces(chosen->rms_norm, &a, rows, k, PIECE, threads);
}

struct heads {
    const struct layer *layer;
    float *qkv;
};

/* Norms of the heads of some tokens, in place. */
static void normalise_heads(const void *arguments, long first, long end) {
    const struct heads *a = arguments;
    const struct layer *l = a->layer;
    for (long t = first; t < end; t++) {
        float *query = a->qkv + t * (l->heads + 2 * l->kv_heads) * l->head_dim, *key = query + l->heads * l->head_dim;
        struct norm queries = {query, l->query_norm, l->epsilon, query, l->head_dim};
        struct norm keys = {key, l->key_norm, l->epsilon, key, l->head_dim};
        chosen->rms_norm(&queries, 0, l->heads);
        chosen->rms_norm(&keys, 0, l->kv_heads);
    }
}

/* hidden [rows, H] -> qkv [rows, heads + 2 kv_heads, head_dim], queries and keys turned, keys and values rounded to 16 bits: so
 * whoever reads them here has the numbers that the cache holds. */
void gg_before_attention(
    const struct layer *l, const float *hidden, long rows, const float *cosine, const float *sine, long width, float *qkv, int threads
) {
    float *normed = room((size_t)(rows * l->qkv.inputs) * sizeof(float));
    normalise(hidden, l->attention_norm, l->epsilon, normed, rows, l->qkv.inputs, threads);
    multiply(&l->qkv, normed, rows, qkv, 0, threads);
    free(normed);
    long turned = l->heads + l->kv_heads, token = (turned + l->kv_heads) * l->head_dim;
    struct heads heads = {l, qkv};
    struct rotation rotation = {qkv, turned, token, l->head_dim, cosine, sine, width};
    if (l->query_norm) in_pieces(normalise_heads, &heads, rows, token, PIECE, threads);
    in_pieces(chosen->rotate, &rotation, rows, token, PIECE, threads);
    struct kept kept = {qkv + l->heads * l->head_dim, token, 2 * l->kv_heads * l->head_dim};
    in_pieces(chosen->halve, &kept, rows, kept.count, PIECE, threads);
}

/* attended [rows, heads, head_dim] and what the layer was given, hidden [rows, H] -> what it gives, out [rows, H]. The rows go in
 * blocks, whose memory is small enough to be used again: fresh memory costs more than the products of so many rows. */
void gg_after_attention(const struct layer *l, const float *attended, const float *hidden, long rows, float *out, int threads) {
    long width = l->gate_up.inputs, inner = l->down.inputs, most = rows < BLOCK_ROWS ? rows : BLOCK_ROWS;
    float *normed = room((size_t)(most * (width + 3 * inner)) * sizeof(float)), *both = normed + most * width;
    struct gate gate = {both, both + most * 2 * inner, inner};
    memcpy(out, hidden, (size_t)(rows * width) * sizeof(float));
    for (long count; rows > 0; rows -= count, attended += count * l->o.inputs, out += count * width) {
        count = rows < most ? rows : most;
        multiply(&l->o, attended, count, out, 1, threads);
        normalise(out, l->mlp_norm, l->epsilon, normed, count, width, threads);
        multiply(&l->gate_up, normed, count, both, 0, threads);
        in_pieces(chosen->silu_mul, &gate, count, inner, PIECE, threads);
        multiply(&l->down, gate.out, count, out, 1, threads);
    }
    free(normed);
}
