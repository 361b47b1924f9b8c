/* What kernels.py, blocks.py and layer_kernel.py call, where it is described, and the structures that they fill. */

#include <stdint.h>

#define LEVEL_AVX2 1 /* of instructions */
#define LEVEL_AVXVNNI 2
#define LEVEL_AVX512 3
#define LEVEL_NEON 4
#define LEVEL_NEON_DOT 5

enum { Q4_0 = 2, Q5_0 = 6, Q8_0 = 8, Q4_K = 12, Q5_K = 13, Q6_K = 14 }; /* GGML's numbers */

struct blocks {
    long type, outputs, chunks;
    uint8_t *planes, *scales;
};

struct linear {
    const struct blocks *parts[3]; /* over the same inputs; their outputs stand side by side from `columns` on */
    long columns[3], count, inputs, outputs;
    const float *bias;
};

struct layer {
    struct linear qkv, o, gate_up, down;
    const float *attention_norm, *query_norm, *key_norm, *mlp_norm; /* heads have none in most families */
    float epsilon;
    long heads, kv_heads, head_dim;
};

struct attention {
    long rows, heads, kv_heads, head_dim, groups, path_stride, half; /* whether cells and prompts have 16 bits a number, or 32 */
    float scale;
    const float *query, *key, *value;
    long query_row, query_head, key_row, key_head, value_row, value_head;
    void *cells;
    const int64_t *slots, *paths, *lengths, *group_of_row;
    const void *const *prompt_keys, *const *prompt_values;
    const int64_t *prompt_head, *prompt_tokens;
    float *out;
};

int gg_has(int level);
void gg_use(int level);

long gg_rounded_bytes(long rows, long chunks);
long gg_plane_bytes(long type, long outputs, long chunks);
long gg_scale_bytes(long type, long outputs, long chunks);
void gg_pack(const struct blocks *matrix, const uint8_t *raw, long n, long first, int threads);
void gg_rows(const struct blocks *matrix, const int64_t *outputs, long n, float *out, long k, int threads);
void gg_round(const float *x, long rows, long k, char *memory, int threads);
void gg_times(const struct blocks *matrix, char *memory, long rows, const float *bias, float *out, long stride, int threads);

void gg_before_attention(
    const struct layer *l, const float *hidden, long rows, const float *cosine, const float *sine, long width, float *qkv, int threads
);
void gg_after_attention(const struct layer *l, const float *attended, const float *hidden, long rows, float *out, int threads);

void gg_rms_norm(const float *x, const float *weight, float epsilon, float *out, long rows, long k, int threads);
void gg_silu_mul(const float *gate_up, float *out, long rows, long k, int threads);
void gg_rotate(
    float *x, long tokens, long heads, long token_stride, long head_dim, const float *cosine, const float *sine, long width, int threads
);
void gg_attend(const struct attention *a, int threads);
void gg_sum_up(const float *logits, long rows, long n, float inverse, float *out, int threads);
void gg_find_largest(const float *logits, long rows, long n, long width, float *values, int64_t *places, int threads);
