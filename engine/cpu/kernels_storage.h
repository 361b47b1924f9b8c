/* How matrices of GGUF's blocks, and rows to multiply with them, lie in memory.
 *
 * A matrix: 32 outputs stand together in a panel. For each 32 columns (a chunk) a panel has its levels in `planes`: of eight bits,
 * 32 x 4 bytes for each four columns; of fewer, four times 32 x 4 bytes with the low four bits of columns 4 p + i and of columns
 * 16 + 4 p + i, followed by 32 x 4 bytes for each further bit. Its scales are in `scales`: 32 halves a chunk or, for the types
 * with blocks of 256 columns, 32 halves a block (and 32 for the smallest numbers) and twice 32 bytes a chunk: its scale and that
 * of its smallest number, or its two sub-blocks' scales.
 */

#define PANEL 32
#define CHUNK 32
#define LINE 128         /* bytes: four of each output */
#define GROUP 8         /* chunks that share the scale of a row, and in some types a block */
#define CHUNK_SCALES 64 /* bytes */
#define MOST_ROWS 48    /* that meet a panel at once: their levels stay in the second cache */

enum { FROM_8, FROM_16, FROM_128, FROM_32_TWICE, STARTS };

struct kind {
    int bits;
    int sub;    /* columns that share a scale */
    int super;  /* whether blocks have 256 columns, with bytes as scales of sub-blocks */
    int mins;   /* whether a sub-block's smallest number is stored */
    int offset; /* what is taken off a level */
    int start;  /* which of the rows' `starts` takes it off */
    int bytes;  /* of a stored block */
};
#define KINDS(EACH)                                \
    EACH(Q4_0, 4, 32, 0, 0, 8, FROM_8, 18)         \
    EACH(Q5_0, 5, 32, 0, 0, 16, FROM_16, 22)       \
    EACH(Q8_0, 8, 32, 0, 0, 128, FROM_128, 34)     \
    EACH(Q4_K, 4, 32, 1, 1, 0, FROM_8, 144)        \
    EACH(Q5_K, 5, 32, 1, 1, 0, FROM_8, 176)        \
    EACH(Q6_K, 6, 16, 1, 0, 32, FROM_32_TWICE, 210)

static struct kind kind_of(long type) {
#define EACH(name, ...) if (type == name) return (struct kind){__VA_ARGS__};
    KINDS(EACH)
#undef EACH
    return (struct kind){0};
}

static inline long panels_of(long outputs) { return (outputs + PANEL - 1) / PANEL; }
static inline long groups_of(long chunks) { return (chunks + GROUP - 1) / GROUP; }
static inline int header_bytes(const struct kind kind) { return kind.super ? 2 * PANEL * (1 + kind.mins) : 0; }
static inline long plane_bytes(const struct kind kind, long chunks) { return chunks * kind.bits * LINE; }
static inline long scale_bytes(const struct kind kind, long chunks) {
    return groups_of(chunks) * header_bytes(kind) + chunks * CHUNK_SCALES;
}

/* Levels of rows, in parts of `at_once` rows, in each of which the rows' levels of a chunk stand together; for each chunk the sum
 * of its levels and what the sum of their products starts at, for each group the scale. */
struct rows {
    long count, chunks, at_once;
    int8_t *levels;
    int32_t *starts[STARTS];
    float *sums, *scales;
};

static inline long rows_in_part(const struct rows *x, long first) {
    return x->count - first < x->at_once ? x->count - first : x->at_once;
}

/* The parts of rows that lie in `memory`; returns how many bytes that is. */
static size_t lay_out(struct rows *x, long count, long chunks, char *memory) {
    size_t each = (size_t)(count * chunks), at = 0;
    long parts = (count + MOST_ROWS - 1) / MOST_ROWS;
    x->count = count, x->chunks = chunks, x->at_once = (count + parts - 1) / parts;
    x->levels = (int8_t *)memory, at += each * CHUNK;
    for (int s = 0; s < STARTS; s++) x->starts[s] = (int32_t *)(memory + at), at += each * 4 * (s == FROM_32_TWICE ? 2 : 1);
    x->sums = (float *)(memory + at), at += each * 4;
    x->scales = (float *)(memory + at), at += (size_t)(count * groups_of(chunks)) * 4;
    return at;
}

/* ---- stored blocks and levels */

/* One output's block: levels in the order of the columns, and the bytes of its scales. */
struct block {
    uint8_t levels[GROUP * CHUNK], half[2], smallest[2], scale[GROUP][2];
};

static inline uint32_t four(const uint8_t *at) {
    uint32_t word;
    memcpy(&word, at, 4);
    return word;
}

static inline void put_four(uint8_t *at, uint32_t word) { memcpy(at, &word, 4); }

static void read_k_scales(const uint8_t *from, struct block *to) {
    for (int j = 0; j < 8; j++) {
        to->scale[j][0] = j < 4 ? from[j] & 63 : (from[j + 4] & 15) | from[j - 4] >> 6 << 4;
        to->scale[j][1] = j < 4 ? from[j + 4] & 63 : from[j + 4] >> 4 | from[j] >> 6 << 4;
    }
}

static void read_block(long type, const uint8_t *from, struct block *to) {
    uint8_t *levels = to->levels;
    memcpy(to->half, type == Q6_K ? from + 208 : from, 2);
    switch (type) {
    case Q8_0: memcpy(levels, from + 2, 32); break;
    case Q4_0:
        for (int i = 0; i < 16; i++) levels[i] = from[2 + i] & 15, levels[16 + i] = from[2 + i] >> 4;
        break;
    case Q5_0: {
        uint32_t high = four(from + 2);
        for (int i = 0; i < 16; i++) {
            levels[i] = (from[6 + i] & 15) | (high >> i & 1) << 4;
            levels[16 + i] = from[6 + i] >> 4 | (high >> (i + 16) & 1) << 4;
        }
        break;
    }
    case Q4_K:
    case Q5_K:
        memcpy(to->smallest, from + 2, 2);
        read_k_scales(from + 4, to);
        for (int j = 0; j < 4; j++) {
            const uint8_t *both = from + (type == Q4_K ? 16 : 48) + 32 * j, *high = from + 16;
            for (int i = 0; i < 32; i++) levels[64 * j + i] = both[i] & 15, levels[64 * j + 32 + i] = both[i] >> 4;
            if (type == Q5_K)
                for (int i = 0; i < 32; i++) {
                    levels[64 * j + i] |= (high[i] >> 2 * j & 1) << 4;
                    levels[64 * j + 32 + i] |= (high[i] >> (2 * j + 1) & 1) << 4;
                }
        }
        break;
    default: /* Q6_K */
        memcpy(to->scale, from + 192, 16);
        for (int n = 0; n < 2; n++) {
            const uint8_t *low = from + 64 * n, *high = from + 128 + 32 * n;
            uint8_t *own = levels + 128 * n;
            for (int i = 0; i < 32; i++) {
                own[i] = (low[i] & 15) | (high[i] & 3) << 4;
                own[32 + i] = (low[32 + i] & 15) | (high[i] >> 2 & 3) << 4;
                own[64 + i] = low[i] >> 4 | (high[i] >> 4 & 3) << 4;
                own[96 + i] = low[32 + i] >> 4 | high[i] >> 6 << 4;
            }
        }
    }
}

/* 32 levels of one output <-> its place in a chunk's plane. */
static void put_levels(int bits, const uint8_t *levels, uint8_t *plane) {
    if (bits == 8) {
        for (int j = 0; j < 8; j++) memcpy(plane + LINE * j, levels + 4 * j, 4);
        return;
    }
    for (int p = 0; p < 4; p++)
        put_four(plane + LINE * p, (four(levels + 4 * p) & 0x0f0f0f0f) | (four(levels + 16 + 4 * p) & 0x0f0f0f0f) << 4);
    if (bits == 4) return;
    uint32_t mask = bits == 5 ? 0x01010101 : 0x03030303, high[2] = {0, 0};
    int width = bits - 4, each = 8 / width;
    for (int j = 0; j < 8; j++) high[j / each] |= (four(levels + 4 * j) >> 4 & mask) << j % each * width;
    for (int e = 0; e < width; e++) put_four(plane + LINE * 4 + LINE * e, high[e]);
}

static void get_levels(int bits, const uint8_t *plane, uint8_t *levels) {
    if (bits == 8) {
        for (int j = 0; j < 8; j++) memcpy(levels + 4 * j, plane + LINE * j, 4);
        return;
    }
    uint32_t mask = bits == 5 ? 0x01010101 : 0x03030303;
    int width = bits - 4, each = width ? 8 / width : 8;
    for (int j = 0; j < 8; j++) {
        uint32_t low = four(plane + LINE * (j % 4)) >> j / 4 * 4 & 0x0f0f0f0f;
        uint32_t high = width ? four(plane + LINE * 4 + LINE * (j / each)) >> j % each * width & mask : 0;
        put_four(levels + 4 * j, low | high << 4);
    }
}

/* ---- matrices */

struct packing {
    const struct blocks *matrix;
    const uint8_t *raw;
    long n, first;
};

struct reading {
    const struct blocks *matrix;
    const int64_t *outputs;
    float *to;
    long k;
};

/* Stored rows [n] -> the outputs from `first` on, those of some panels. */
static void pack(const void *arguments, long from_panel, long end_panel) {
    const struct packing *a = arguments;
    const struct blocks *m = a->matrix;
    const struct kind kind = kind_of(m->type);
    int each = kind.super ? GROUP : 1, header = header_bytes(kind);
    long first = a->first, n = a->n, base = first / PANEL;
    long across = m->chunks / each, planes = plane_bytes(kind, m->chunks), scales = scale_bytes(kind, m->chunks);
    for (long p = base + from_panel; p < base + end_panel; p++) {
        long start = p * PANEL < first ? first : p * PANEL, end = (p + 1) * PANEL < first + n ? (p + 1) * PANEL : first + n;
        for (long b = 0; b < across; b++)
            for (long row = start; row < end; row++) {
                struct block block;
                long o = row % PANEL;
                uint8_t *scale = m->scales + p * scales + b * (header + each * CHUNK_SCALES);
                read_block(m->type, a->raw + ((row - first) * across + b) * kind.bytes, &block);
                memcpy(scale + 2 * o, block.half, 2);
                if (kind.mins) memcpy(scale + 2 * (PANEL + o), block.smallest, 2);
                for (int c = 0; c < each; c++) {
                    put_levels(kind.bits, block.levels + c * CHUNK, m->planes + p * planes + (b * each + c) * kind.bits * LINE + 4 * o);
                    for (int half = 0; kind.super && half < 2; half++)
                        scale[header + c * CHUNK_SCALES + half * PANEL + o] = block.scale[c][half];
                }
            }
    }
}

static float float_of_half(const uint8_t *at) {
    uint32_t half = (uint32_t)at[0] | (uint32_t)at[1] << 8, bits = (half & 0x7fff) << 13, sign = (half & 0x8000) << 16;
    float x;
    memcpy(&x, &bits, 4);
    x *= 0x1p112f;
    memcpy(&bits, &x, 4);
    bits |= sign | ((half & 0x7c00) == 0x7c00 ? 0x7f800000 : 0);
    memcpy(&x, &bits, 4);
    return x;
}

/* One output as floats [k]. */
static void dequantise(const struct blocks *m, long output, float *to, long k) {
    const struct kind kind = kind_of(m->type);
    int header = header_bytes(kind);
    long p = output / PANEL, o = output % PANEL;
    const uint8_t *plane = m->planes + p * plane_bytes(kind, m->chunks) + 4 * o;
    const uint8_t *scale = m->scales + p * scale_bytes(kind, m->chunks);
    for (long c = 0; c < m->chunks; c++, plane += kind.bits * LINE) {
        const uint8_t *super = scale + c / GROUP * (header + GROUP * CHUNK_SCALES), *own = super + header + c % GROUP * CHUNK_SCALES;
        float by[2], less = 0;
        by[0] = by[1] = float_of_half(kind.super ? super + 2 * o : own + 2 * o);
        if (kind.super) {
            by[0] *= (int8_t)own[o];
            by[1] = kind.mins ? by[0] : by[1] * (int8_t)own[PANEL + o];
        }
        if (kind.mins) less = float_of_half(super + 2 * (PANEL + o)) * own[PANEL + o];
        uint8_t levels[CHUNK];
        get_levels(kind.bits, plane, levels);
        for (int i = 0; i < CHUNK && c * CHUNK + i < k; i++) {
            int level = kind.bits == 8 ? (int8_t)levels[i] : levels[i] - kind.offset;
            to[c * CHUNK + i] = by[i / 16] * (float)level - less;
        }
    }
}

static void read_outputs(const void *arguments, long first, long end) {
    const struct reading *a = arguments;
    for (long i = first; i < end; i++) dequantise(a->matrix, a->outputs[i], a->to + i * a->k, a->k);
}
