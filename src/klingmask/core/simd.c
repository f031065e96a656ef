/* Vector variants of the inner loops; see simd.h for what each one does. */
#include "simd.h"

#include "codes.h"
#include "runs.h"

#include <string.h>

#if defined(__GNUC__) && defined(__x86_64__)
#define X86 1
#include <cpuid.h>
#include <immintrin.h>
#else
#define X86 0
#endif

/* ---- plain C ---- */

#define ONES UINT64_C(0x0101010101010101)
#define LOW7 UINT64_C(0x7f7f7f7f7f7f7f7f)

/* Pixel i of eight becomes bit i. */
static inline uint64_t pack8(const uint8_t *pixels)
{
    uint64_t eight = 0;
    for (unsigned i = 0; i < 8; i++)
        eight |= (uint64_t)pixels[i] << (8 * i);
    /* The top bit of each byte: is any bit of it set? */
    uint64_t set = ((((eight & LOW7) + LOW7) | eight) >> 7) & ONES;
    /* Moves bit 0 of byte i to bit 56 + i; the partial products never meet. */
    return (set * UINT64_C(0x0102040810204080)) >> 56;
}

/* The reverse, with `value` for a set bit. */
static inline void unpack8(uint64_t bits, uint8_t value, uint8_t *pixels)
{
    /* Byte i keeps bit i alone, which then moves to its bit 0. */
    uint64_t one_each = ((bits & 0xff) * ONES) & UINT64_C(0x8040201008040201);
    uint64_t eight = (((one_each + LOW7) >> 7) & ONES) * value;
    for (unsigned i = 0; i < 8; i++)
        pixels[i] = (uint8_t)(eight >> (8 * i));
}

/* n <= 64 pixels become a word of bits, the rest 0. The last eight may overlap those
 * before: their bits agree. */
static inline uint64_t pack_scalar(const uint8_t *pixels, size_t n)
{
    uint64_t word = 0;
    if (n < 8) {
        for (size_t i = 0; i < n; i++)
            word |= (uint64_t)(pixels[i] != 0) << i;
        return word;
    }
    for (size_t i = 0; i + 8 < n; i += 8)
        word |= pack8(pixels + i) << i;
    return word | pack8(pixels + n - 8) << (n - 8);
}

/* Images are read once, from memory that may be far. On many processors four streams of reads, each
 * of which goes on from where it is, get more of it than one; and so do four streams of writes that
 * take turns, up to a CHUNK of bytes each time. Where there is one stream, what will be looked at
 * in AHEAD bytes is asked for now: processors do so of their own accord, but not over the end of
 * a page. */
enum { CHUNK = 512, AHEAD = 9216 };
#if defined(__GNUC__)
#define PREFETCH(address) __builtin_prefetch((const void *)((uintptr_t)(address) + AHEAD))
#else
#define PREFETCH(address) ((void)0)
#endif

/* Rows of pixels become words of bits, over any pack. */
#define PACK_ROWS(level, target)                                                                   \
    target static inline void pack_row_##level(const uint8_t *row, size_t columns, uint64_t *bits) \
    {                                                                                              \
        size_t full = columns / KM_WORD, rest = columns % KM_WORD;                                 \
        for (size_t i = 0; i < full; i++) {                                                        \
            PREFETCH(row + i * KM_WORD);                                                           \
            *bits++ = pack_##level(row + i * KM_WORD, KM_WORD);                                    \
        }                                                                                          \
        if (rest > 0)                                                                              \
            *bits = pack_##level(row + full * KM_WORD, rest);                                      \
    }                                                                                              \
                                                                                                   \
    target static void pack_rows_##level(const uint8_t *pixels, ptrdiff_t stride, size_t rows,     \
                                         size_t columns, uint64_t *bits)                           \
    {                                                                                              \
        size_t full = columns / KM_WORD, rest = columns % KM_WORD, words = full + (rest > 0);      \
        size_t part = rows / KM_PLACES;                                                            \
        if (!km_simd.in_turns || part * columns < KM_FAR)                                          \
            part = 0;                                                                              \
        for (size_t y = 0; y < part; y++) {                                                        \
            const uint8_t *row = pixels + (ptrdiff_t)y * stride;                                   \
            ptrdiff_t apart = (ptrdiff_t)part * stride;                                            \
            for (size_t i = 0; i < full; i++)                                                      \
                for (size_t j = 0; j < KM_PLACES; j++)                                             \
                    bits[(y + j * part) * words + i] =                                             \
                        pack_##level(row + (ptrdiff_t)j * apart + i * KM_WORD, KM_WORD);           \
            for (size_t j = 0; rest > 0 && j < KM_PLACES; j++)                                     \
                bits[(y + j * part) * words + full] =                                              \
                    pack_##level(row + (ptrdiff_t)j * apart + full * KM_WORD, rest);               \
        }                                                                                          \
        for (size_t y = part * KM_PLACES; y < rows; y++)                                           \
            pack_row_##level(pixels + (ptrdiff_t)y * stride, columns, bits + y * words);           \
    }

/* The changes of the rows of a tile, each at the place that its column will have. Returns how
 * many there are. */
#define CHANGES(level, target)                                                                     \
    target static inline size_t changes_##level(const uint64_t *bits, size_t rows, size_t words,   \
                                                uint64_t *places)                                  \
    {                                                                                              \
        uint64_t above = bits[-(ptrdiff_t)words];                                                  \
        size_t n = 0;                                                                              \
        /* Not all at once: compilers know string instructions for that, which start slowly. */    \
        for (unsigned i = 0; rows < KM_WORD && i < KM_WORD; i += 8)                                \
            memset(places + i, 0, 8 * sizeof *places);                                             \
        for (size_t first = 0; first < rows; first += 16, places++) {                              \
            size_t some = rows - first < 16 ? rows - first : 16;                                   \
            for (size_t i = 0; i < some; i++, bits += words) {                                     \
                places[4 * i] = *bits ^ above;                                                     \
                n += count_ones_##level(*bits ^ above);                                            \
                above = *bits;                                                                     \
            }                                                                                      \
        }                                                                                          \
        return n;                                                                                  \
    }

/* Looking for changes of the rows, over any find_rows, which gathers those of `lanes` columns of
 * words, and transpose, which makes columns of the rows of a tile by swapping halves of it, then
 * halves of those, and so on (H. S. Warren, Hacker's Delight, 7-3). */
#define TRANSPOSE_ROWS(level, target, lanes)                                                       \
    target static size_t transpose_rows_##level(const uint64_t *bits, size_t rows, size_t words,   \
                                                uint32_t row, km_tile *tiles, km_tally *tally)     \
    {                                                                                              \
        km_tile *next = tiles;                                                                     \
        for (size_t first = 0; first < words; first += lanes) {                                    \
            uint64_t any[lanes];                                                                   \
            find_rows_##level(bits + first, rows, words, any);                                     \
            for (size_t i = 0; i < lanes && first + i < words; i++) {                              \
                if (any[i] == 0)                                                                   \
                    continue;                                                                      \
                tally->changes += changes_##level(bits + first + i, rows, words, next->columns);   \
                transpose_##level(next->columns);                                                  \
                tally->words += count_ones_##level(any[i]);                                        \
                next->any = any[i];                                                                \
                next->row = row;                                                                   \
                next->word = (uint32_t)(first + i);                                                \
                next++;                                                                            \
            }                                                                                      \
        }                                                                                          \
        return (size_t)(next - tiles);                                                             \
    }

/* Looking for changes of a line, over any find_line, which says which of up to 64 words are
 * other than what the bit before would make of them. */
#define LIST_LINE(level, target)                                                                   \
    target static size_t list_line_##level(const uint64_t *bits, size_t words, uint32_t pixel,     \
                                           km_changes *listed, km_tally *tally)                    \
    {                                                                                              \
        km_changes *next = listed;                                                                 \
        for (size_t first = 0; first < words; first += KM_WORD) {                                  \
            size_t n = words - first < KM_WORD ? words - first : KM_WORD;                          \
            uint64_t found = find_line_##level(bits + first, n);                                   \
            for (; found; found &= found - 1) {                                                    \
                size_t i = first + km_lowest_one(found);                                           \
                uint64_t before = bits[(ptrdiff_t)i - 1] >> (KM_WORD - 1);                         \
                uint64_t changes = bits[i] ^ (bits[i] << 1 | before);                              \
                tally->changes += count_ones_##level(changes);                                     \
                *next++ = (km_changes){changes, pixel + (uint32_t)(i * KM_WORD)};                  \
            }                                                                                      \
        }                                                                                          \
        tally->words += (size_t)(next - listed);                                                   \
        return (size_t)(next - listed);                                                            \
    }

static inline void find_rows_scalar(const uint64_t *bits, size_t rows, size_t words, uint64_t *any)
{
    const uint64_t *above = bits - words;
    *any = 0;
    for (size_t i = 0; i < rows * words; i += words)
        *any |= bits[i] ^ above[i];
}

/* Of two rows that are `by` apart, the high halves of the low one's groups of 2 * by bits change
 * places with the low halves of the high one's; the mask has the low halves. */
static inline void swap_bits(uint64_t *low, uint64_t *high, unsigned by, uint64_t mask)
{
    uint64_t other = (*low >> by ^ *high) & mask;
    *high ^= other;
    *low ^= other << by;
}

static inline void transpose_scalar(uint64_t *tile)
{
    uint64_t mask = ~UINT64_C(0);
    for (unsigned by = KM_WORD / 2; by > 0; by /= 2) {
        mask ^= mask << by;
        for (unsigned i = 0; i < KM_WORD; i++)
            if (!(i & by))
                swap_bits(&tile[km_place(i)], &tile[km_place(i + by)], by, mask);
    }
}

static inline uint64_t find_line_scalar(const uint64_t *bits, size_t n)
{
    uint64_t found = 0;
    for (size_t i = 0; i < n; i++)
        found |= (uint64_t)(bits[i] + (bits[(ptrdiff_t)i - 1] >> (KM_WORD - 1)) != 0) << i;
    return found;
}

static inline unsigned count_ones_scalar(uint64_t word)
{
    return km_count_ones(word);
}

static void clear_scalar(uint8_t *pixels, size_t n, bool near)
{
    (void)near;
    memset(pixels, 0, n);
}

static uint32_t *write_dense_scalar(const km_changes *listed, size_t n, uint32_t end,
                                    uint32_t *runs)
{
    for (size_t i = 0; i < n; i++)
        runs = km_write_ends(listed[i], &end, runs);
    return runs;
}

/* What is looked at at once, in one place; and what is looked at or cleared at once in turns. */
enum { SHORT = 16 * KM_LINE, ALL = KM_PLACES * KM_LONG };

/* Over any or_line, which gathers a line of 64 pixels. In turns, long stretches are read to their
 * ends before they are judged, and the short ones of one that is not clear again: that is worth it
 * after as many clear pixels as may be read twice. */
#define SKIP_CLEAR(level, target, line_type, zero, is_zero)                                        \
    target static inline size_t skip_short_##level(const uint8_t *pixels, size_t i, size_t n)      \
    {                                                                                              \
        for (; i + SHORT <= n; i += SHORT) {                                                       \
            line_type any = zero;                                                                  \
            for (size_t j = i; j < i + SHORT; j += KM_LINE) {                                      \
                PREFETCH(pixels + j);                                                              \
                any = or_line_##level(any, pixels + j);                                            \
            }                                                                                      \
            if (!(is_zero(any)))                                                                   \
                break;                                                                             \
        }                                                                                          \
        return i;                                                                                  \
    }                                                                                              \
                                                                                                   \
    target static size_t skip_clear_##level(const uint8_t *pixels, size_t n)                       \
    {                                                                                              \
        size_t first = km_simd.in_turns && n > ALL ? ALL : n;                                      \
        size_t i = skip_short_##level(pixels, 0, first);                                           \
        if (i < first)                                                                             \
            return i;                                                                              \
        for (bool clear = true; clear && i + ALL <= n;) {                                          \
            line_type any[KM_PLACES] = {zero}; /* all of them */                                   \
            for (size_t j = i; j < i + KM_LONG; j += KM_LINE)                                      \
                for (size_t k = 0; k < KM_PLACES; k++)                                             \
                    any[k] = or_line_##level(any[k], pixels + k * KM_LONG + j);                    \
            for (size_t k = 0; clear && k < KM_PLACES; k++) {                                      \
                clear = is_zero(any[k]);                                                           \
                i += clear ? KM_LONG : 0;                                                          \
            }                                                                                      \
        }                                                                                          \
        return skip_short_##level(pixels, i, n);                                                   \
    }

/* From so many bytes on, stores are faster than what memset does in a core's own cache. */
enum { STORED = 4096 };

/* Over any clear_line, which clears a line of the caches: in turns, or one after the other if they
 * are near. */
#define CLEAR(level, target)                                                                       \
    target static void clear_##level(uint8_t *pixels, size_t n, bool near)                         \
    {                                                                                              \
        bool in_turns = km_simd.in_turns;                                                          \
        size_t i = (size_t)(-(uintptr_t)pixels % KM_LINE);                                         \
        if (n < (in_turns ? ALL : STORED) || !(in_turns || near)) {                                \
            memset(pixels, 0, n);                                                                  \
            return;                                                                                \
        }                                                                                          \
        memset(pixels, 0, i);                                                                      \
        if (!in_turns)                                                                             \
            for (; n - i >= KM_LINE; i += KM_LINE)                                                 \
                clear_line_##level(pixels + i);                                                    \
        for (; n - i >= ALL; i += ALL)                                                             \
            for (size_t j = i; j < i + KM_LONG; j += CHUNK)                                        \
                for (size_t k = j; k < j + ALL; k += KM_LONG)                                      \
                    for (size_t line = k; line < k + CHUNK; line += KM_LINE)                       \
                        clear_line_##level(pixels + line);                                         \
        memset(pixels + i, 0, n - i);                                                              \
    }

static inline uint64_t or_line_scalar(uint64_t any, const uint8_t *pixels)
{
    uint64_t words[8];
    memcpy(words, pixels, sizeof words);
    for (unsigned i = 0; i < 8; i++)
        any |= words[i];
    return any;
}

#define ANY
PACK_ROWS(scalar, ANY)
SKIP_CLEAR(scalar, ANY, uint64_t, 0, 0 ==)
CHANGES(scalar, ANY)
TRANSPOSE_ROWS(scalar, ANY, 1)
LIST_LINE(scalar, ANY)

/* Painting, over any expand, which turns a word of bits into 64 pixels, expand_some, which
 * writes fewer, and stream, which writes 64 past the caches, to where a line of theirs
 * starts. Rows of 64 pixels or more have no rest: the vectors of their two ends overlap the
 * others, and all agree; but if they are streamed, no line is written both ways, and one in which
 * a row ends and the next begins is written once: half a line would be fetched from memory. */
#define PAINT(level, target)                                                                       \
    target static void paint_##level(uint64_t *changes, size_t rows, size_t columns,               \
                                     unsigned skip, uint8_t value, bool streamed, uint8_t *pixels, \
                                     ptrdiff_t stride)                                             \
    {                                                                                              \
        size_t words = km_words(skip + columns), full = (skip + columns) / KM_WORD;                \
        unsigned tail = (skip + columns) % KM_WORD;                                                \
        bool joined = stride == (ptrdiff_t)columns;                                                \
        uint64_t *colours = changes;                                                               \
        for (size_t y = 0; y < rows; y++, colours += words) {                                      \
            uint8_t *row = pixels + (ptrdiff_t)y * stride;                                         \
            for (size_t i = 0; y > 0 && i < words; i++)                                            \
                colours[i] ^= colours[(ptrdiff_t)i - (ptrdiff_t)words];                            \
            uint64_t first = colours[0] >> skip;                                                   \
            if (skip > 0 && words > 1)                                                             \
                first |= colours[1] << (KM_WORD - skip);                                           \
            if (columns < KM_WORD) {                                                               \
                expand_some_##level(first, columns, value, row);                                   \
                continue;                                                                          \
            }                                                                                      \
            if (streamed) {                                                                        \
                if (skip == 0)                                                                     \
                    stream_##level(first, value, row);                                             \
                else if (y == 0 || !joined)                                                        \
                    expand_some_##level(first, KM_WORD - skip, value, row);                        \
                for (size_t i = 1; i < full; i++)                                                  \
                    stream_##level(colours[i], value, row + i * KM_WORD - skip);                   \
                if (tail > 0 && joined && y + 1 < rows) /* the next row has changes still */       \
                    stream_##level(colours[words - 1] | (colours[0] ^ colours[words]), value,      \
                                   row + columns - tail);                                          \
                else if (tail > 0)                                                                 \
                    expand_some_##level(colours[words - 1], tail, value, row + columns - tail);    \
                continue;                                                                          \
            }                                                                                      \
            expand_##level(first, value, row);                                                     \
            for (size_t i = 1; i < full; i++)                                                      \
                expand_##level(colours[i], value, row + i * KM_WORD - skip);                       \
            if (tail > 0)                                                                          \
                expand_##level(colours[words - 1] << (KM_WORD - tail) |                            \
                                   colours[words - 2] >> tail,                                     \
                               value, row + columns - KM_WORD);                                    \
        }                                                                                          \
        if (streamed)                                                                              \
            stream_end_##level();                                                                  \
    }

static inline void expand_scalar(uint64_t word, uint8_t value, uint8_t *pixels)
{
    for (unsigned i = 0; i < KM_WORD; i += 8)
        unpack8(word >> i, value, pixels + i);
}

static inline void expand_some_scalar(uint64_t word, size_t n, uint8_t value, uint8_t *pixels)
{
    uint8_t all[KM_WORD];
    expand_scalar(word, value, all);
    memcpy(pixels, all, n);
}

#define stream_scalar expand_scalar
#define stream_end_scalar() ((void)0)
PAINT(scalar, ANY)

static void fill_scalar(const uint32_t *runs, size_t n_runs, uint8_t value, uint8_t *pixels)
{
    for (size_t i = 0; i < n_runs; i++) {
        memset(pixels, i & 1 ? 0 : value, runs[i]);
        pixels += runs[i];
    }
}

/* Blending, over any tint_span, which lays the tint over the bytes of up to 64 pixels. */
#define BLEND(level, target)                                                                       \
    target static void blend_##level(const uint64_t *bits, size_t words, unsigned channels,        \
                                     const km_tint *tint, uint8_t *pixels)                         \
    {                                                                                              \
        for (size_t i = 0; i < words; i++)                                                         \
            for (uint64_t word = bits[i]; word;) {                                                 \
                unsigned from = km_lowest_one(word), to = KM_WORD;                                 \
                word |= word - 1; /* now the lowest 0 is behind the span */                        \
                if (~word)                                                                         \
                    to = km_lowest_one(~word);                                                     \
                word = to < KM_WORD ? word >> to << to : 0;                                        \
                tint_span_##level(tint, pixels + (i * KM_WORD + from) * channels,                  \
                                  (to - from) * channels);                                         \
            }                                                                                      \
    }

/* The bytes i to n - 1. */
static inline void tint_bytes(const km_tint *tint, uint8_t *pixels, size_t i, size_t n)
{
    for (; i < n; i++) {
        unsigned sum = tint->source[i % KM_TINT_BYTES] + (unsigned)pixels[i] * tint->keep;
        pixels[i] = (uint8_t)((sum * 257) >> 16);
    }
}

static inline void tint_span_scalar(const km_tint *tint, uint8_t *pixels, size_t n)
{
    if (tint->keep == 0) {
        memcpy(pixels, tint->color, n < KM_TINT_BYTES ? n : KM_TINT_BYTES);
        if (n > KM_TINT_BYTES)
            memcpy(pixels + KM_TINT_BYTES, tint->color, n - KM_TINT_BYTES);
        return;
    }
    for (size_t i = 0; i < n; i += KM_TINT_BYTES)
        tint_bytes(tint, pixels + i, 0, n - i < KM_TINT_BYTES ? n - i : KM_TINT_BYTES);
}

BLEND(scalar, ANY)

static void stamp_from(const uint64_t *bits, size_t i, size_t n, const uint8_t *color,
                       uint8_t *pixels)
{
    const uint8_t clear[4] = {0};
    for (; i < n; i++)
        memcpy(pixels + 4 * i, bits[i / KM_WORD] >> i % KM_WORD & 1 ? color : clear, 4);
}

static void stamp_scalar(const uint64_t *bits, size_t n, const uint8_t *color, uint8_t *pixels)
{
    stamp_from(bits, 0, n, color, pixels);
}

static uint64_t count_shared_scalar(const km_block *block)
{
    uint64_t count = 0;
    const uint64_t *a = block->a, *b = block->b;
    for (size_t band = 0; band < block->bands; band++, a += block->width_a, b += block->width_b)
        for (size_t i = 0; i < block->columns; i++)
            count += km_count_ones(a[i] & b[i]);
    return count;
}

/* Over a set_range, which sets the bits from..to - 1. Only the first run that counts and the last
 * may have to be cut. */
#define SET_RUNS(name, target, set_range)                                                          \
    target static void name(const uint32_t *runs, size_t n, uint64_t start, uint64_t from,         \
                            uint64_t to, uint64_t *bits)                                           \
    {                                                                                              \
        uint64_t end = start;                                                                      \
        size_t i = 0;                                                                              \
        for (; i < n && (end = start + runs[i]) <= from; i += 2)                                   \
            start = end + (i + 1 < n ? runs[i + 1] : 0);                                           \
        if (i >= n)                                                                                \
            return;                                                                                \
        start = start > from ? start - from : 0;                                                   \
        end -= from;                                                                               \
        to -= from;                                                                                \
        while (end <= to) {                                                                        \
            set_range(bits, start, end);                                                           \
            i += 2;                                                                                \
            if (i >= n)                                                                            \
                return;                                                                            \
            start = end + runs[i - 1];                                                             \
            end = start + runs[i];                                                                 \
        }                                                                                          \
        if (start < to)                                                                            \
            set_range(bits, start, to);                                                            \
    }

static inline void set_range_scalar(uint64_t *bits, uint64_t from, uint64_t to)
{
    km_set_range(bits, 1, from, to);
}

SET_RUNS(set_runs_scalar, ANY, set_range_scalar)

/* What tiers share, over any add_shared, which adds what spans of columns share to a sum
 * and is given where the two of them start. */
#define OVERLAP(level, target, sum_type, zero, total)                                              \
    target static uint64_t overlap_##level(const km_tier *a, size_t n_a, const km_tier *b,         \
                                           size_t n_b)                                             \
    {                                                                                              \
        sum_type sum = zero;                                                                       \
        for (const km_tier *p = a; p < a + n_a; p++)                                               \
            for (const km_tier *q = b; q < b + n_b; q++) {                                         \
                uint32_t left = p->left > q->left ? p->left : q->left;                             \
                uint32_t right = p->right < q->right ? p->right : q->right;                        \
                for (uint32_t x = left; x < right; x += KM_GRID)                                   \
                    sum = add_shared_##level(sum, p, x - p->left, q, x - q->left);                 \
            }                                                                                      \
        return total(sum);                                                                         \
    }

static inline uint64_t add_shared_scalar(uint64_t sum, const km_tier *a, size_t i, const km_tier *b,
                                         size_t j)
{
    for (unsigned n = 0; n < KM_GRID; n++, i++, j++) {
        uint16_t end = a->ends[i] < b->ends[j] ? a->ends[i] : b->ends[j];
        uint16_t first = a->firsts[i] > b->firsts[j] ? a->firsts[i] : b->firsts[j];
        sum += end > first ? (unsigned)(end - first) : 0;
    }
    return sum;
}

OVERLAP(scalar, ANY, uint64_t, 0, )

static char *write_codes_scalar(const uint32_t *runs, size_t n, char *text)
{
    for (size_t i = 0; i < n; i++)
        text = km_write_code((uint64_t)runs[i] - runs[(ptrdiff_t)i - 2], text);
    return text;
}

/* What a level has. */
#define KERNELS(level)                                                                             \
    {.name = #level,                                                                               \
     .pack_rows = pack_rows_##level,                                                               \
     .skip_clear = skip_clear_##level,                                                             \
     .transpose_rows = transpose_rows_##level,                                                     \
     .list_line = list_line_##level,                                                               \
     .write_dense = write_dense_##level,                                                           \
     .clear = clear_##level,                                                                       \
     .paint = paint_##level,                                                                       \
     .fill = fill_##level,                                                                         \
     .read_codes = read_codes_##level,                                                             \
     .rows_of = rows_of_##level,                                                                   \
     .write_codes = write_codes_##level,                                                           \
     .set_runs = set_runs_##level,                                                                 \
     .blend = blend_##level,                                                                       \
     .stamp = stamp_##level,                                                                       \
     .count_shared = count_shared_##level,                                                         \
     .overlap = overlap_##level}

/* Code by code and run by run, there is nothing to gain here. */
#define read_codes_scalar NULL
#define rows_of_scalar NULL
static const km_kernels scalar = KERNELS(scalar);

#if X86

/* Vector kernels start where a line of the caches does: else what stands before them in this file
 * decides how fast their loops are, by some 5 %. */
#define ON_A_LINE aligned(KM_LINE)

/* ---- AVX2: also BMI, POPCNT, as every processor with AVX2 has ---- */

#define AVX2 __attribute__((target("avx2,bmi,bmi2,popcnt,lzcnt"), ON_A_LINE))

/* A constant that the compiler does not know, so that it does not make it anew each time. */
AVX2 static inline __m256i held_avx2(char byte)
{
    __m256i bytes = _mm256_set1_epi8(byte);
    __asm__("" : "+x"(bytes));
    return bytes;
}

/* Of 32 pixels, those that are not 0: 127 more, or as many as there can be, give the sign. */
AVX2 static inline uint32_t pack32_avx2(const uint8_t *pixels)
{
    __m256i x = _mm256_loadu_si256((const __m256i *)pixels);
    return (uint32_t)_mm256_movemask_epi8(_mm256_adds_epu8(x, _mm256_set1_epi8(127)));
}

AVX2 static inline uint32_t pack16_avx2(const uint8_t *pixels)
{
    __m128i x = _mm_loadu_si128((const __m128i *)pixels);
    return (uint32_t)_mm_movemask_epi8(_mm_adds_epu8(x, _mm_set1_epi8(127)));
}

/* Two vectors, which may overlap as in pack_scalar. */
AVX2 static inline uint64_t pack_avx2(const uint8_t *pixels, size_t n)
{
    if (n >= 32)
        return pack32_avx2(pixels) | (uint64_t)pack32_avx2(pixels + n - 32) << (n - 32);
    if (n >= 16)
        return pack16_avx2(pixels) | (uint64_t)pack16_avx2(pixels + n - 16) << (n - 16);
    return pack_scalar(pixels, n);
}

PACK_ROWS(avx2, AVX2)

AVX2 static inline __m256i or_line_avx2(__m256i any, const uint8_t *pixels)
{
    __m256i low = _mm256_loadu_si256((const __m256i *)pixels);
    return _mm256_or_si256(
        any, _mm256_or_si256(low, _mm256_loadu_si256((const __m256i *)(pixels + 32))));
}

/* Zeros that the compiler does not know: clang makes a call of memset of a loop that stores 0. */
AVX2 static inline void clear_line_avx2(uint8_t *line)
{
    __m256i zero = held_avx2(0);
    _mm256_storeu_si256((__m256i *)line, zero);
    _mm256_storeu_si256((__m256i *)(line + 32), zero);
}

CLEAR(avx2, AVX2)

#define IS_ZERO_AVX2(any) _mm256_testz_si256(any, any)
SKIP_CLEAR(avx2, AVX2, __m256i, _mm256_setzero_si256(), IS_ZERO_AVX2)

AVX2 static inline __m256i load_avx2(const uint64_t *words)
{
    return _mm256_loadu_si256((const __m256i *)words);
}

/* From bit `first` on, those of four words that are all ones. */
AVX2 static inline uint64_t four_avx2(__m256i words, size_t first)
{
    return (uint64_t)(unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(words)) << first;
}

AVX2 static inline void find_rows_avx2(const uint64_t *bits, size_t rows, size_t words,
                                       uint64_t *any)
{
    __m256i above[2] = {load_avx2(bits - words), load_avx2(bits - words + 4)};
    __m256i found[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (size_t y = 0; y < rows; y++, bits += words)
        for (unsigned i = 0; i < 2; i++) {
            __m256i row = load_avx2(bits + 4 * i);
            found[i] = _mm256_or_si256(found[i], _mm256_xor_si256(row, above[i]));
            above[i] = row;
        }
    for (unsigned i = 0; i < 2; i++)
        _mm256_storeu_si256((__m256i *)(any + 4 * i), found[i]);
}

/* As swap_bits, of four rows each. */
AVX2 static inline void swap_bits_avx2(__m256i *low, __m256i *high, int by, uint64_t mask)
{
    __m256i other = _mm256_xor_si256(_mm256_srli_epi64(*low, by), *high);
    other = _mm256_and_si256(other, _mm256_set1_epi64x((long long)mask));
    *high = _mm256_xor_si256(*high, other);
    *low = _mm256_xor_si256(*low, _mm256_slli_epi64(other, by));
}

AVX2 static inline void transpose_avx2(uint64_t *tile)
{
    __m256i *at = (__m256i *)tile;
    for (unsigned i = 0; i < 16; i += 4) {
        __m256i v[4];
        for (unsigned j = 0; j < 4; j++)
            v[j] = _mm256_loadu_si256(at + i + j);
        swap_bits_avx2(&v[0], &v[1], 1, UINT64_C(0x5555555555555555));
        swap_bits_avx2(&v[2], &v[3], 1, UINT64_C(0x5555555555555555));
        swap_bits_avx2(&v[0], &v[2], 2, UINT64_C(0x3333333333333333));
        swap_bits_avx2(&v[1], &v[3], 2, UINT64_C(0x3333333333333333));
        for (unsigned j = 0; j < 4; j++)
            _mm256_storeu_si256(at + i + j, v[j]);
    }
    /* The swaps at 16 and 32 at once: 16 bits of each of four words, side by side. */
    const __m256i pairs = _mm256_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15, 0,
                                           1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15);
    const __m256i fours = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    for (unsigned i = 0; i < 4; i++) {
        __m256i v[4];
        for (unsigned j = 0; j < 4; j++)
            v[j] = _mm256_loadu_si256(at + i + 4 * j);
        swap_bits_avx2(&v[0], &v[1], 4, UINT64_C(0x0f0f0f0f0f0f0f0f));
        swap_bits_avx2(&v[2], &v[3], 4, UINT64_C(0x0f0f0f0f0f0f0f0f));
        swap_bits_avx2(&v[0], &v[2], 8, UINT64_C(0x00ff00ff00ff00ff));
        swap_bits_avx2(&v[1], &v[3], 8, UINT64_C(0x00ff00ff00ff00ff));
        for (unsigned j = 0; j < 4; j++)
            _mm256_storeu_si256(at + i + 4 * j, _mm256_permutevar8x32_epi32(
                                                    _mm256_shuffle_epi8(v[j], pairs), fours));
    }
}

AVX2 static inline uint64_t find_line_avx2(const uint64_t *bits, size_t n)
{
    const __m256i zero = _mm256_setzero_si256();
    uint64_t same = 0;
    for (size_t i = 0; i < n; i += 4) {
        __m256i before = _mm256_cmpgt_epi64(zero, load_avx2(bits + i - 1)); /* the last bit's */
        same |= four_avx2(_mm256_cmpeq_epi64(load_avx2(bits + i), before), i);
    }
    return _bzhi_u64(~same, (unsigned)n);
}

AVX2 static inline unsigned count_ones_avx2(uint64_t word)
{
    return (unsigned)_mm_popcnt_u64(word);
}

CHANGES(avx2, AVX2)
TRANSPOSE_ROWS(avx2, AVX2, 8)
LIST_LINE(avx2, AVX2)

/* So many runs are written for each word, whether it has as many changes or not. What is too
 * much makes way for those of the next words: there are enough, of which each has a change. */
enum { AT_ONCE = 4 };

AVX2 static uint32_t *write_dense_avx2(const km_changes *listed, size_t n, uint32_t end,
                                       uint32_t *runs)
{
    size_t i = 0;
    for (; i + AT_ONCE <= n; i++) {
        uint64_t bits = listed[i].bits;
        uint32_t first = listed[i].first, *after = runs + _mm_popcnt_u64(bits);
        do
            for (unsigned j = 0; j < AT_ONCE; j++, bits = _blsr_u64(bits)) {
                uint32_t position = first + (uint32_t)_tzcnt_u64(bits);
                *runs++ = position - end;
                end = position;
            }
        while (runs < after);
        runs = after;
        end = first + KM_WORD - 1 - (uint32_t)_lzcnt_u64(listed[i].bits);
    }
    return write_dense_scalar(listed + i, n - i, end, runs);
}

/* Each byte of the bits goes to eight pixels, each of which looks at one bit. */
AVX2 static inline void spread_avx2(uint64_t word, uint8_t value, __m256i *low, __m256i *high)
{
    const __m256i own = _mm256_set1_epi64x((long long)UINT64_C(0x8040201008040201));
    const __m256i bytes = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2,
                                           2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    const __m256i values = _mm256_set1_epi8((char)value), all = _mm256_set1_epi64x((long long)word);
    *low = _mm256_shuffle_epi8(all, bytes);
    *high = _mm256_shuffle_epi8(all, _mm256_add_epi8(bytes, _mm256_set1_epi8(4)));
    *low = _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(*low, own), own), values);
    *high = _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(*high, own), own), values);
}

AVX2 static inline void expand_avx2(uint64_t word, uint8_t value, uint8_t *pixels)
{
    __m256i low, high;
    spread_avx2(word, value, &low, &high);
    _mm256_storeu_si256((__m256i *)pixels, low);
    _mm256_storeu_si256((__m256i *)(pixels + 32), high);
}

AVX2 static inline void stream_avx2(uint64_t word, uint8_t value, uint8_t *pixels)
{
    __m256i low, high;
    spread_avx2(word, value, &low, &high);
    _mm256_stream_si256((__m256i *)pixels, low);
    _mm256_stream_si256((__m256i *)(pixels + 32), high);
}

AVX2 static inline void expand_some_avx2(uint64_t word, size_t n, uint8_t value, uint8_t *pixels)
{
    uint8_t all[KM_WORD];
    expand_avx2(word, value, all);
    memcpy(pixels, all, n);
}

#define stream_end_avx2 _mm_sfence
PAINT(avx2, AVX2)

/* Shuffles that move what is wanted to the front, in order; filled once by
 * km_simd_select. gather_lanes: the 16-bit lanes set in a mask of eight.
 * gather_codes: of four lanes of 32 bits the first bytes, one more than the two
 * bits say of which bit 4 + i and bit i are the index's. */
static uint8_t gather_lanes[256][16], gather_codes[256][16];

static void fill_tables(void)
{
    for (unsigned index = 0; index < 256; index++) {
        unsigned n = 0, m = 0;
        for (unsigned lane = 0; lane < 8; lane++)
            if (index >> lane & 1) {
                gather_lanes[index][n++] = (uint8_t)(2 * lane);
                gather_lanes[index][n++] = (uint8_t)(2 * lane + 1);
            }
        while (n < 16)
            gather_lanes[index][n++] = 0x80; /* zero */
        for (unsigned lane = 0; lane < 4; lane++) {
            unsigned bytes = 1 + (index >> lane & 1) + 2 * (index >> (4 + lane) & 1);
            for (unsigned byte = 0; byte < bytes; byte++)
                gather_codes[index][m++] = (uint8_t)(4 * lane + byte);
        }
        while (m < 16)
            gather_codes[index][m++] = 0x80;
    }
}

/* Text is read in two steps, a block at a time: the numbers of its codes close up as
 * differences of 16 bits, then they become runs. What is wrong is gathered and judged at
 * the end: until then it does no harm. */
enum {
    CHARACTERS = 32,   /* characters at a time */
    DIFFERENCES = 512, /* of a block, and up to CHARACTERS more */
    LARGEST_BITS = 25, /* of a run less one: those of a block add up in 32-bit lanes */
    PADDING = 16       /* 0 behind them, as long as the longest vector that adds up */
};

/* A running sum over every other lane, on top of what the first two are differences to.
 * Behind the n differences there is the padding, of zeros. `beyond` gathers what bits there are
 * over LARGEST_BITS: runs of 0 and below wrap around. */
AVX2 static inline void sum_up_avx2(const int16_t *differences, size_t n, const uint32_t *before,
                                    uint32_t *runs, uint64_t *first_sum, uint64_t *second_sum,
                                    __m256i *beyond)
{
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), one = _mm256_set1_epi32(1);
    const __m256i even = _mm256_set1_epi64x(UINT32_MAX);
    long long two;
    memcpy(&two, before, sizeof two);
    __m256i pair = _mm256_set1_epi64x(two);
    __m256i x = _mm256_setzero_si256(), sum = x, less_one = x; /* or-ed */
    for (size_t i = 0; i < n; i += 8) {
        x = _mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i *)(differences + i)));
        x = _mm256_add_epi32(x, _mm256_slli_si256(x, 8));
        __m256i rise = _mm256_unpackhi_epi64(x, x);                           /* of each half */
        x = _mm256_add_epi32(x, _mm256_permute2x128_si256(rise, rise, 0x08)); /* 0, the first */
        x = _mm256_add_epi32(x, pair);
        /* The next pair is had from this one by an addition: all else can run ahead. */
        rise = _mm256_add_epi32(rise, _mm256_permute2x128_si256(rise, rise, 0x01));
        pair = _mm256_add_epi32(pair, rise);
        _mm256_storeu_si256((__m256i *)(runs + i), x);
        less_one = _mm256_or_si256(less_one, _mm256_sub_epi32(x, one));
        sum = _mm256_add_epi32(sum, x);
    }
    *beyond = _mm256_or_si256(*beyond, _mm256_srli_epi32(less_one, LARGEST_BITS));
    /* The padding repeats runs, which do not count. */
    __m256i rest = _mm256_set1_epi32((int)((n + 7) % 8));
    sum = _mm256_sub_epi32(sum, _mm256_and_si256(x, _mm256_cmpgt_epi32(lanes, rest)));
    __m256i first = _mm256_and_si256(sum, even), second = _mm256_srli_epi64(sum, 32);
    __m256i both = _mm256_add_epi64(_mm256_unpacklo_epi64(first, second),
                                    _mm256_unpackhi_epi64(first, second));
    uint64_t halves[4];
    _mm256_storeu_si256((__m256i *)halves, both);
    *first_sum += halves[0] + halves[2];
    *second_sum += halves[1] + halves[3];
}

/* The text is taken wherever codes start and end: a code is read at its last character,
 * from that and up to two before it. */
AVX2 static void read_codes_avx2(km_codes *codes)
{
    const char *at = codes->at, *end = codes->end;
    uint32_t *runs = codes->runs;
    const uint32_t *before = codes->before;
    uint64_t history = 0; /* bit 63: whether the code goes on after the last character */
    const __m256i zero = _mm256_setzero_si256();
    const __m256i one = held_avx2(1), offset = held_avx2(KM_OFFSET), sign = held_avx2(KM_SIGN);
    const __m256i more_from = held_avx2(KM_OFFSET + KM_MORE);
    const __m256i last_without = held_avx2(KM_OFFSET + KM_MORE - 1);
    const __m256i less = held_avx2(1 - 32);
    __m256i characters = zero, idle = zero, beyond = zero;
    unsigned limit = CHARACTERS;
    bool odd = false; /* an odd number of runs so far */
    while (at < end && limit == CHARACTERS) {
        int16_t differences[DIFFERENCES + CHARACTERS + PADDING];
        size_t n = 0;
        while (at < end && n < DIFFERENCES && limit == CHARACTERS) {
            /* The last vector starts with what was read before, or ends with what is not
             * there. */
            char tail[2 + CHARACTERS];
            const char *from = at;
            unsigned length = CHARACTERS, known = 0;
            if (end - at < CHARACTERS) {
                length = (unsigned)(end - at);
                if (end - codes->text >= CHARACTERS + 2) {
                    known = CHARACTERS - length;
                    from = end - CHARACTERS;
                    history <<= known;
                } else {
                    memset(tail, KM_OFFSET, sizeof tail);
                    memcpy(tail, at - 2, 2 + length);
                    from = tail + 2;
                }
            }
            uint32_t there = _bzhi_u32(UINT32_MAX, length) << known;
            __m256i c0 = _mm256_loadu_si256((const __m256i *)from);
            uint32_t more = (uint32_t)_mm256_movemask_epi8(_mm256_cmpgt_epi8(c0, last_without));
            history = (uint64_t)more << (KM_WORD - CHARACTERS) | history >> CHARACTERS;
            uint32_t second = (uint32_t)(history << 1 >> (KM_WORD - CHARACTERS));
            c0 = _mm256_sub_epi8(c0, offset);
            characters = _mm256_or_si256(characters, c0);
            __m256i g0 = _mm256_sub_epi8(_mm256_xor_si256(c0, sign), sign);
            if ((more | second) == 0 && length == CHARACTERS) { /* all codes are of one */
                for (unsigned i = 0; i < 2; i++) {
                    __m128i half = i ? _mm256_extracti128_si256(g0, 1) : _mm256_castsi256_si128(g0);
                    _mm256_storeu_si256((__m256i *)(differences + n), _mm256_cvtepi8_epi16(half));
                    n += CHARACTERS / 2;
                }
                at += CHARACTERS;
                continue;
            }
            uint32_t third = second & (uint32_t)(history << 2 >> (KM_WORD - CHARACTERS));
            /* Characters with three before them in their code are for another way. */
            uint32_t fourth = third & (uint32_t)(history << 3 >> (KM_WORD - CHARACTERS)) & there;
            limit = (unsigned)_tzcnt_u32(fourth); /* CHARACTERS if there is none */
            uint32_t ends = _bzhi_u32(~more & there, limit);
            __m256i c1 = _mm256_loadu_si256((const __m256i *)(from - 1));
            __m256i go_on1 = _mm256_cmpgt_epi8(c1, last_without);
            __m256i g1 = _mm256_subs_epu8(c1, more_from); /* 0 if it ends a code */
            /* A last group that only repeats the sign before it makes a code too long. A
             * character with more to come is no such group, being positive. */
            __m256i repeats = _mm256_cmpeq_epi8(_mm256_and_si256(g1, sign), sign);
            repeats = _mm256_and_si256(_mm256_cmpeq_epi8(g0, repeats), go_on1);
            idle = _mm256_or_si256(idle, repeats);
            /* Every character's number, should a code end there, in 16 bits: g1 + g0 times
             * 32 or 1. */
            __m256i factor = _mm256_sub_epi8(one, _mm256_and_si256(go_on1, less));
            __m256i low = _mm256_maddubs_epi16(_mm256_unpacklo_epi8(one, factor),
                                               _mm256_unpacklo_epi8(g1, g0));
            __m256i high = _mm256_maddubs_epi16(_mm256_unpackhi_epi8(one, factor),
                                                _mm256_unpackhi_epi8(g1, g0));
            if (third & ends) {
                __m256i c2 = _mm256_loadu_si256((const __m256i *)(from - 2));
                __m256i go_on2 = _mm256_and_si256(go_on1, _mm256_cmpgt_epi8(c2, last_without));
                __m256i g2 = _mm256_subs_epu8(c2, more_from);
                low = _mm256_blendv_epi8(low,
                                         _mm256_or_si256(_mm256_slli_epi16(low, KM_GROUP_BITS),
                                                         _mm256_unpacklo_epi8(g2, zero)),
                                         _mm256_unpacklo_epi8(go_on2, go_on2));
                high = _mm256_blendv_epi8(high,
                                          _mm256_or_si256(_mm256_slli_epi16(high, KM_GROUP_BITS),
                                                          _mm256_unpackhi_epi8(g2, zero)),
                                          _mm256_unpackhi_epi8(go_on2, go_on2));
            }
            __m128i eight[] = {_mm256_castsi256_si128(low), _mm256_castsi256_si128(high),
                               _mm256_extracti128_si256(low, 1), _mm256_extracti128_si256(high, 1)};
            for (unsigned i = 0; i < 4; i++, ends >>= 8) {
                __m128i gather = _mm_loadu_si128((const __m128i *)gather_lanes[ends & 0xff]);
                _mm_storeu_si128((__m128i *)(differences + n), _mm_shuffle_epi8(eight[i], gather));
                n += (unsigned)_mm_popcnt_u32(ends & 0xff);
            }
            at += length;
            if (limit < CHARACTERS) { /* back to the start of the long code */
                at -= known + length - limit + 3;
                history = 0;
            }
        }
        _mm_storeu_si128((__m128i *)(differences + n), _mm_setzero_si128());
        sum_up_avx2(differences, n, before, runs, &codes->sums[odd], &codes->sums[!odd], &beyond);
        runs += n;
        odd ^= n & 1;
        before = runs - 2;
    }
    __m256i wrong = _mm256_and_si256(characters, _mm256_set1_epi8((char)~(KM_MORE | KM_GROUP)));
    wrong = _mm256_or_si256(wrong, _mm256_or_si256(idle, beyond));
    codes->odd = ((end[-1] - KM_OFFSET) & KM_MORE) || !_mm256_testz_si256(wrong, wrong);
    codes->at = at;
    codes->runs = runs;
}

/* Eight differences at a time, of up to four characters each: those of 20 bits
 * and the sign. */
AVX2 static char *write_codes_avx2(const uint32_t *runs, size_t n, char *text)
{
    const __m256i sign = _mm256_set1_epi32(INT32_MIN);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256i now = _mm256_loadu_si256((const __m256i *)(runs + i));
        __m256i before = _mm256_loadu_si256((const __m256i *)(runs + i - 2));
        __m256i x = _mm256_sub_epi32(now, before);
        __m256i size = _mm256_xor_si256(x, _mm256_srai_epi32(x, 31));
        __m256i beyond = _mm256_cmpgt_epi32(size, _mm256_set1_epi32((1 << 19) - 1));
        beyond = _mm256_or_si256(_mm256_or_si256(now, before), beyond);
        if (!_mm256_testz_si256(beyond, sign)) {
            text = write_codes_scalar(runs + i, 8, text);
            continue;
        }
        __m256i two = _mm256_cmpgt_epi32(size, _mm256_set1_epi32(15));
        __m256i three = _mm256_cmpgt_epi32(size, _mm256_set1_epi32(511));
        __m256i four = _mm256_cmpgt_epi32(size, _mm256_set1_epi32(16383));
        __m256i characters = _mm256_and_si256(x, _mm256_set1_epi32(KM_GROUP));
        characters =
            _mm256_or_si256(characters, _mm256_and_si256(_mm256_slli_epi32(x, 3),
                                                         _mm256_set1_epi32(KM_GROUP << 8)));
        characters =
            _mm256_or_si256(characters, _mm256_and_si256(_mm256_slli_epi32(x, 6),
                                                         _mm256_set1_epi32(KM_GROUP << 16)));
        characters =
            _mm256_or_si256(characters, _mm256_and_si256(_mm256_slli_epi32(x, 9),
                                                         _mm256_set1_epi32(KM_GROUP << 24)));
        __m256i more = _mm256_and_si256(two, _mm256_set1_epi32(KM_MORE));
        more = _mm256_or_si256(more, _mm256_and_si256(three, _mm256_set1_epi32(KM_MORE << 8)));
        more = _mm256_or_si256(more, _mm256_and_si256(four, _mm256_set1_epi32(KM_MORE << 16)));
        characters =
            _mm256_add_epi8(_mm256_add_epi8(characters, more), _mm256_set1_epi8(KM_OFFSET));
        __m256i odd = _mm256_xor_si256(two, _mm256_xor_si256(three, four));
        unsigned low = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(odd));
        unsigned high = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(three));
        for (unsigned half = 0; half < 2; half++, low >>= 4, high >>= 4) {
            unsigned index = (high & 15) << 4 | (low & 15);
            __m128i lanes =
                half ? _mm256_extracti128_si256(characters, 1) : _mm256_castsi256_si128(characters);
            __m128i gather = _mm_loadu_si128((const __m128i *)gather_codes[index]);
            _mm_storeu_si128((__m128i *)text, _mm_shuffle_epi8(lanes, gather));
            text += 4 + _mm_popcnt_u32(index) + _mm_popcnt_u32(index >> 4);
        }
    }
    return write_codes_scalar(runs + i, n - i, text);
}

/* Each run is written in whole vectors; what is too much of it, the next runs
 * overwrite. Only where that would pass the end of the pixels, memset ends it. */
AVX2 static void fill_avx2(const uint32_t *runs, size_t n_runs, uint8_t value, uint8_t *pixels)
{
    size_t left = 0;
    for (size_t i = 0; i < n_runs; i++)
        left += runs[i];
    __m256i colours[2] = {_mm256_set1_epi8((char)value), _mm256_setzero_si256()};
    for (size_t i = 0; i < n_runs; i++) {
        size_t n = runs[i];
        left -= n;
        if (left < 32) {
            memset(pixels, i & 1 ? 0 : value, n);
        } else {
            __m256i colour = colours[i & 1];
            for (size_t j = 0; j < n; j += 32)
                _mm256_storeu_si256((__m256i *)(pixels + j), colour);
        }
        pixels += n;
    }
}

/* Sixteen runs, eight pairs of background and foreground. Where a foreground starts, modulo
 * the height, is its first row. The quotient is a float's, too low by one at the worst: see
 * km_rows. */
typedef struct {
    __m256i height, top, bottom, done; /* pixels */
    __m256 inverse;                    /* of the height, a little less */
} rows_avx2;

/* Those that are there have all bits of `some` set. */
AVX2 static inline void add_rows_avx2(rows_avx2 *rows, __m256i low, __m256i high, __m256i some)
{
    __m256 a = _mm256_castsi256_ps(low), b = _mm256_castsi256_ps(high);
    /* The lanes are those of the pairs 0 1 4 5 2 3 6 7. */
    __m256i gaps = _mm256_castps_si256(_mm256_shuffle_ps(a, b, _MM_SHUFFLE(2, 0, 2, 0)));
    __m256i lengths = _mm256_castps_si256(_mm256_shuffle_ps(a, b, _MM_SHUFFLE(3, 1, 3, 1)));
    __m256i ends = _mm256_add_epi32(gaps, lengths);
    ends = _mm256_add_epi32(ends, _mm256_slli_epi64(ends, 32));
    /* Up to here in twos; A C | B D, if A are the pairs 0 and 1, and so on. */
    __m256i own = _mm256_shuffle_epi32(ends, _MM_SHUFFLE(3, 3, 1, 1));
    __m256i other = _mm256_permute2x128_si256(own, own, 0x01);
    __m256i both = _mm256_add_epi32(own, other); /* A + B, C + D, and again */
    __m256i before = _mm256_slli_si256(both, 8); /* 0, A + B, and again */
    const __m256i zero = _mm256_setzero_si256();
    before = _mm256_add_epi32(before, _mm256_blend_epi32(zero, other, 0xf0)); /* and 0, 0 | A, C */
    ends = _mm256_add_epi32(_mm256_add_epi32(ends, before), rows->done);
    rows->done = _mm256_add_epi32(
        rows->done, _mm256_add_epi32(both, _mm256_shuffle_epi32(both, _MM_SHUFFLE(1, 0, 3, 2))));
    __m256i starts = _mm256_sub_epi32(ends, lengths);
    __m256i columns = _mm256_cvttps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(starts), rows->inverse));
    __m256i first = _mm256_sub_epi32(starts, _mm256_mullo_epi32(columns, rows->height));
    first = _mm256_min_epu32(first, _mm256_sub_epi32(first, rows->height));
    __m256i end = _mm256_and_si256(_mm256_add_epi32(first, lengths), some);
    __m256i none = _mm256_xor_si256(some, _mm256_set1_epi32(-1));
    rows->top = _mm256_min_epu32(rows->top, _mm256_or_si256(first, none));
    rows->bottom = _mm256_max_epu32(rows->bottom, end);
}

AVX2 static void rows_of_avx2(km_rows *result)
{
    enum { RUNS = 16 };
    const uint32_t *runs = result->runs, *runs_end = runs + 2 * result->pairs;
    const __m256i zero = _mm256_setzero_si256(), all = _mm256_set1_epi32(-1);
    /* Three times 2**-24, the error of a float, would do. */
    const float less = 1.0f - 1.0f / (1 << 21);
    rows_avx2 rows = {_mm256_set1_epi32((int)result->height), all, zero, zero,
                      _mm256_set1_ps(less / (float)result->height)};
    for (; runs_end - runs >= RUNS; runs += RUNS)
        add_rows_avx2(&rows, _mm256_loadu_si256((const __m256i *)runs),
                      _mm256_loadu_si256((const __m256i *)(runs + 8)), all);
    if (runs < runs_end) {
        const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        const __m256i pairs = _mm256_setr_epi32(0, 1, 4, 5, 2, 3, 6, 7);
        __m256i left = _mm256_set1_epi32((int)(runs_end - runs));
        __m256i low = _mm256_cmpgt_epi32(left, lanes);
        __m256i high = _mm256_cmpgt_epi32(left, _mm256_add_epi32(lanes, _mm256_set1_epi32(8)));
        add_rows_avx2(&rows, _mm256_maskload_epi32((const int *)runs, low),
                      _mm256_maskload_epi32((const int *)runs + 8, high),
                      _mm256_cmpgt_epi32(left, _mm256_add_epi32(pairs, pairs)));
    }
    __m128i top =
        _mm_min_epu32(_mm256_castsi256_si128(rows.top), _mm256_extracti128_si256(rows.top, 1));
    __m128i bottom = _mm_max_epu32(_mm256_castsi256_si128(rows.bottom),
                                   _mm256_extracti128_si256(rows.bottom, 1));
    top = _mm_min_epu32(top, _mm_shuffle_epi32(top, _MM_SHUFFLE(1, 0, 3, 2)));
    top = _mm_min_epu32(top, _mm_shuffle_epi32(top, _MM_SHUFFLE(2, 3, 0, 1)));
    bottom = _mm_max_epu32(bottom, _mm_shuffle_epi32(bottom, _MM_SHUFFLE(1, 0, 3, 2)));
    bottom = _mm_max_epu32(bottom, _mm_shuffle_epi32(bottom, _MM_SHUFFLE(2, 3, 0, 1)));
    result->top = (uint32_t)_mm_cvtsi128_si32(top);
    result->bottom = (uint32_t)_mm_cvtsi128_si32(bottom);
}

AVX2 static uint64_t count_shared_avx2(const km_block *block)
{
    /* The bits of a nibble, looked up 32 nibbles at a time. */
    const __m256i ones = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1,
                                          2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    const __m256i nibble = _mm256_set1_epi8(0xf);
    __m256i sum = _mm256_setzero_si256();
    uint64_t sums[4];
    const uint64_t *a = block->a, *b = block->b;
    for (size_t band = 0; band < block->bands; band++, a += block->width_a, b += block->width_b) {
        for (size_t i = 0; i < block->columns; i += 4) {
            __m256i both = _mm256_and_si256(_mm256_load_si256((const __m256i *)(a + i)),
                                            _mm256_load_si256((const __m256i *)(b + i)));
            __m256i low = _mm256_shuffle_epi8(ones, _mm256_and_si256(both, nibble));
            __m256i high =
                _mm256_shuffle_epi8(ones, _mm256_and_si256(_mm256_srli_epi16(both, 4), nibble));
            sum = _mm256_add_epi64(
                sum, _mm256_sad_epu8(_mm256_add_epi8(low, high), _mm256_setzero_si256()));
        }
    }
    _mm256_storeu_si256((__m256i *)sums, sum);
    return sums[0] + sums[1] + sums[2] + sums[3];
}

/* Four words at a time: how many a run goes through is anybody's guess. */
AVX2 static inline void set_range_avx2(uint64_t *bits, uint64_t from, uint64_t to)
{
    enum { FOUR = 4 * KM_WORD };
    uint64_t low = from % KM_WORD, left = to - from + low; /* bits from the first word on */
    __m256i *words = (__m256i *)(bits + from / KM_WORD);
    if (left <= KM_WORD) {
        bits[from / KM_WORD] |= km_range((unsigned)low, (unsigned)left);
        return;
    }
    const __m256i all = _mm256_set1_epi64x(-1), places = _mm256_setr_epi64x(0, 64, 128, 192);
    __m256i set = _mm256_sllv_epi64(all, _mm256_setr_epi64x((long long)low, 0, 0, 0));
    for (; left > FOUR; left -= FOUR, words++) {
        _mm256_storeu_si256(words, _mm256_or_si256(_mm256_loadu_si256(words), set));
        set = all;
    }
    /* How many bits of each word, if not all, come before the end: shifts of 64 leave none. */
    __m256i before = _mm256_subs_epu16(_mm256_set1_epi64x((long long)left), places);
    set = _mm256_andnot_si256(_mm256_sllv_epi64(all, before), set);
    _mm256_storeu_si256(words, _mm256_or_si256(_mm256_loadu_si256(words), set));
}

/* Apart, to start on a line. */
SET_RUNS(set_far_runs_avx2, AVX2 __attribute__((noinline)), set_range_avx2)

/* Where there is more than one run a word, it is hard to predict whether one ends in the word that
 * it starts in: the plain way has no branch for that. But if they have SHORT_RUN pixels on average,
 * they nearly always do. */
AVX2 static void set_runs_avx2(const uint32_t *runs, size_t n, uint64_t start, uint64_t from,
                               uint64_t to, uint64_t *bits)
{
    enum { SHORT_RUN = 8 };
    uint64_t own = n / 2, all = 0;
    if (to - from < own * KM_WORD)
        for (size_t i = 0; i < n; i += 2)
            all += runs[i];
    if (all > own * SHORT_RUN)
        set_runs_scalar(runs, n, start, from, to, bits);
    else
        set_far_runs_avx2(runs, n, start, from, to, bits);
}

AVX2 static inline __m256i add_shared_avx2(__m256i sum, const km_tier *a, size_t i,
                                           const km_tier *b, size_t j)
{
    __m256i first = _mm256_max_epu16(_mm256_loadu_si256((const __m256i *)(a->firsts + i)),
                                     _mm256_loadu_si256((const __m256i *)(b->firsts + j)));
    __m256i end = _mm256_min_epu16(_mm256_loadu_si256((const __m256i *)(a->ends + i)),
                                   _mm256_loadu_si256((const __m256i *)(b->ends + j)));
    __m256i rows = _mm256_subs_epu16(end, first); /* 0 if they do not meet */
    return _mm256_add_epi32(sum, _mm256_madd_epi16(rows, _mm256_set1_epi16(1)));
}

/* A lane has had every eighth column: 2**29 pixels at the most. */
AVX2 static inline uint64_t add_lanes_avx2(__m256i sum)
{
    uint32_t lanes[8];
    uint64_t total = 0;
    _mm256_storeu_si256((__m256i *)lanes, sum);
    for (unsigned i = 0; i < 8; i++)
        total += lanes[i];
    return total;
}

OVERLAP(avx2, AVX2, __m256i, _mm256_setzero_si256(), add_lanes_avx2)

AVX2 static inline void tint_span_avx2(const km_tint *tint, uint8_t *pixels, size_t n)
{
    if (tint->keep == 0) {
        tint_span_scalar(tint, pixels, n);
        return;
    }
    __m256i keep = _mm256_set1_epi16((short)tint->keep);
    size_t i = 0, phase = 0;
    for (; i + 16 <= n; i += 16) {
        __m256i x = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(pixels + i)));
        __m256i source = _mm256_loadu_si256((const __m256i *)(tint->source + phase));
        x = _mm256_add_epi16(_mm256_mullo_epi16(x, keep), source);
        x = _mm256_mulhi_epu16(x, _mm256_set1_epi16(257));
        _mm_storeu_si128((__m128i *)(pixels + i), _mm_packus_epi16(_mm256_castsi256_si128(x),
                                                                   _mm256_extracti128_si256(x, 1)));
        phase = phase == KM_TINT_BYTES - 16 ? 0 : phase + 16;
    }
    tint_bytes(tint, pixels, i, n);
}

BLEND(avx2, AVX2)

AVX2 static void stamp_avx2(const uint64_t *bits, size_t n, const uint8_t *color, uint8_t *pixels)
{
    int value;
    memcpy(&value, color, sizeof value);
    const __m256i own = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i colors = _mm256_set1_epi32(value);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        int eight = (int)(bits[i / KM_WORD] >> i % KM_WORD & 0xff);
        __m256i set = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(eight), own), own);
        _mm256_storeu_si256((__m256i *)(pixels + 4 * i), _mm256_and_si256(set, colors));
    }
    stamp_from(bits, i, n, color, pixels);
}

static const km_kernels avx2 = KERNELS(avx2);

/* ---- AVX-512, as of Ice Lake and Zen 4 ---- */

#define AVX512                                                                                     \
    __attribute__((target("avx2,bmi,bmi2,popcnt,lzcnt,avx512f,avx512bw,avx512vl,avx512dq,"         \
                          "avx512vbmi2,avx512vpopcntdq"),                                          \
                   ON_A_LINE))

AVX512 static inline uint64_t pack_avx512(const uint8_t *pixels, size_t n)
{
    __m512i x = _mm512_maskz_loadu_epi8(_bzhi_u64(~UINT64_C(0), (unsigned)n), pixels);
    return _mm512_test_epi8_mask(x, x);
}

PACK_ROWS(avx512, AVX512)

AVX512 static inline __m512i or_line_avx512(__m512i any, const uint8_t *pixels)
{
    return _mm512_or_si512(any, _mm512_loadu_si512(pixels));
}

#define IS_ZERO_AVX512(any) (_mm512_test_epi64_mask(any, any) == 0)
SKIP_CLEAR(avx512, AVX512, __m512i, _mm512_setzero_si512(), IS_ZERO_AVX512)

AVX512 static inline void find_rows_avx512(const uint64_t *bits, size_t rows, size_t words,
                                           uint64_t *any)
{
    __m512i above = _mm512_loadu_si512(bits - words), found = _mm512_setzero_si512();
    for (size_t y = 0; y < rows; y++) {
        __m512i row = _mm512_loadu_si512(bits + y * words);
        found = _mm512_or_si512(found, _mm512_xor_si512(row, above));
        above = row;
    }
    _mm512_storeu_si512(any, found);
}

#define count_ones_avx512 count_ones_avx2
#define transpose_avx512 transpose_avx2
CHANGES(avx512, AVX512)
TRANSPOSE_ROWS(avx512, AVX512, 8)

/* Without a branch: of KM_BLOCK words, those with changes close up, and their places do; then the
 * two take turns, as they do in memory. */
_Static_assert(sizeof(km_changes) == 16 && offsetof(km_changes, first) == 8, "two words");
AVX512 static size_t list_line_avx512(const uint64_t *bits, size_t words, uint32_t pixel,
                                      km_changes *listed, km_tally *tally)
{
    const __m512i firsts = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
    const __m512i lasts = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
    __m512i place = _mm512_add_epi64(_mm512_set1_epi64(pixel),
                                     _mm512_setr_epi64(0, 64, 128, 192, 256, 320, 384, 448));
    __m512i sum = _mm512_setzero_si512();
    km_changes *next = listed;
    for (size_t i = 0; i < words; i += KM_BLOCK) {
        size_t left = words - i < KM_BLOCK ? words - i : KM_BLOCK;
        __mmask8 there = (__mmask8)_bzhi_u32(0xff, (unsigned)left);
        __m512i word = _mm512_maskz_loadu_epi64(there, bits + i);
        __m512i before = _mm512_maskz_loadu_epi64(there, bits + i - 1);
        __m512i changes = _mm512_xor_si512(word, _mm512_shldi_epi64(word, before, 1));
        __mmask8 some = _mm512_test_epi64_mask(changes, changes);
        sum = _mm512_add_epi64(sum, _mm512_popcnt_epi64(changes));
        __m512i closed = _mm512_maskz_compress_epi64(some, changes);
        __m512i places = _mm512_maskz_compress_epi64(some, place);
        _mm512_storeu_si512(next, _mm512_permutex2var_epi64(closed, firsts, places));
        _mm512_storeu_si512(next + 4, _mm512_permutex2var_epi64(closed, lasts, places));
        next += _mm_popcnt_u32(some);
        place = _mm512_add_epi64(place, _mm512_set1_epi64(KM_BLOCK * KM_WORD));
    }
    tally->changes += (size_t)_mm512_reduce_add_epi64(sum);
    tally->words += (size_t)(next - listed);
    return (size_t)(next - listed);
}

AVX512 static inline void clear_line_avx512(uint8_t *line)
{
    __m512i zero = _mm512_setzero_si512();
    __asm__("" : "+v"(zero)); /* as in clear_line_avx2 */
    _mm512_storeu_si512((void *)line, zero);
}

CLEAR(avx512, AVX512)

/* Here and below the value is in all places of a vector outside the loop: it would come there from
 * an ordinary register each time. */
AVX512 static inline void expand_avx512(uint64_t word, uint8_t value, uint8_t *pixels)
{
    _mm512_storeu_si512(pixels, _mm512_maskz_mov_epi8(word, _mm512_set1_epi8((char)value)));
}

AVX512 static inline void expand_some_avx512(uint64_t word, size_t n, uint8_t value,
                                             uint8_t *pixels)
{
    _mm512_mask_storeu_epi8(pixels, _bzhi_u64(~UINT64_C(0), (unsigned)n),
                            _mm512_maskz_mov_epi8(word, _mm512_set1_epi8((char)value)));
}

AVX512 static inline void stream_avx512(uint64_t word, uint8_t value, uint8_t *pixels)
{
    _mm512_stream_si512((void *)pixels, _mm512_maskz_mov_epi8(word, _mm512_set1_epi8((char)value)));
}

#define stream_end_avx512 _mm_sfence
PAINT(avx512, AVX512)

/* As sum_up_avx2, of 16: what each quarter of a vector adds is passed on to those behind it. */
AVX512 static inline void sum_up_avx512(const int16_t *differences, size_t n,
                                        const uint32_t *before, uint32_t *runs, uint64_t *first_sum,
                                        uint64_t *second_sum, __m512i *beyond)
{
    const __m512i one = _mm512_set1_epi32(1), none = _mm512_setzero_si512();
    long long two;
    memcpy(&two, before, sizeof two);
    __m512i pair = _mm512_set1_epi64(two), x = none, sum = none, less_one = none; /* or-ed */
    for (size_t i = 0; i < n; i += 16) {
        x = _mm512_cvtepi16_epi32(_mm256_loadu_si256((const __m256i *)(differences + i)));
        x = _mm512_add_epi32(x, _mm512_bslli_epi128(x, 8));
        __m512i own = _mm512_unpackhi_epi64(x, x);
        __m512i rise = _mm512_add_epi32(own, _mm512_alignr_epi64(own, none, 6));
        rise = _mm512_add_epi32(rise, _mm512_alignr_epi64(rise, none, 4));
        x = _mm512_add_epi32(_mm512_add_epi32(x, pair), _mm512_sub_epi32(rise, own));
        pair = _mm512_add_epi32(pair, _mm512_shuffle_i64x2(rise, rise, 0xff));
        _mm512_storeu_si512(runs + i, x);
        less_one = _mm512_or_si512(less_one, _mm512_sub_epi32(x, one));
        sum = _mm512_add_epi32(sum, x);
    }
    *beyond = _mm512_or_si512(*beyond, _mm512_srli_epi32(less_one, LARGEST_BITS));
    /* The padding repeats runs, which do not count. */
    __mmask16 padding = (__mmask16)(UINT32_MAX << ((n + 15) % 16 + 1));
    sum = _mm512_mask_sub_epi32(sum, padding, sum, x);
    __m512i firsts = _mm512_and_si512(sum, _mm512_set1_epi64(UINT32_MAX));
    *first_sum += (uint64_t)_mm512_reduce_add_epi64(firsts);
    *second_sum += (uint64_t)_mm512_reduce_add_epi64(_mm512_srli_epi64(sum, 32));
}

/* As read_codes_avx2. */
AVX512 static void read_codes_avx512(km_codes *codes)
{
    const char *at = codes->at, *end = codes->end;
    uint32_t *runs = codes->runs;
    const uint32_t *before = codes->before;
    uint64_t history = 0;
    const __m256i offset = _mm256_set1_epi8(KM_OFFSET), group = _mm256_set1_epi8(KM_GROUP);
    const __m256i sign = _mm256_set1_epi8(KM_SIGN);
    __m256i characters = _mm256_setzero_si256();
    __m512i beyond = _mm512_setzero_si512();
    uint32_t idle = 0;
    unsigned limit = CHARACTERS;
    bool odd = false;
    while (at < end && limit == CHARACTERS) {
        int16_t differences[DIFFERENCES + CHARACTERS + PADDING];
        size_t n = 0;
        while (at < end && n < DIFFERENCES && limit == CHARACTERS) {
            unsigned length = end - at < CHARACTERS ? (unsigned)(end - at) : CHARACTERS;
            __mmask32 there = _bzhi_u32(UINT32_MAX, length);
            __m256i c0 = _mm256_maskz_sub_epi8(there, _mm256_maskz_loadu_epi8(there, at), offset);
            characters = _mm256_or_si256(characters, c0);
            uint32_t more = _mm256_test_epi8_mask(c0, _mm256_set1_epi8(KM_MORE));
            history = (uint64_t)more << (KM_WORD - CHARACTERS) | history >> CHARACTERS;
            __mmask32 second = (__mmask32)(history << 1 >> (KM_WORD - CHARACTERS));
            __m512i g0 = _mm512_cvtepi8_epi16(
                _mm256_sub_epi8(_mm256_xor_si256(_mm256_and_si256(c0, group), sign), sign));
            if ((more | second) == 0 && length == CHARACTERS) {
                _mm512_storeu_si512(differences + n, g0);
                n += CHARACTERS;
                at += CHARACTERS;
                continue;
            }
            __m256i c1 = _mm256_sub_epi8(_mm256_maskz_loadu_epi8(there, at - 1), offset);
            __m256i c2 = _mm256_sub_epi8(_mm256_maskz_loadu_epi8(there, at - 2), offset);
            __mmask32 third = second & (__mmask32)(history << 2 >> (KM_WORD - CHARACTERS));
            uint32_t fourth = third & (uint32_t)(history << 3 >> (KM_WORD - CHARACTERS)) & there;
            limit = (unsigned)_tzcnt_u32(fourth);
            __mmask32 ends = _bzhi_u32(~more & there, limit);
            __m512i g1 = _mm512_cvtepu8_epi16(_mm256_and_si256(c1, group));
            __m512i g2 = _mm512_cvtepu8_epi16(_mm256_and_si256(c2, group));
            __m512i number = _mm512_mask_mov_epi16(
                g0, second, _mm512_or_si512(_mm512_slli_epi16(g0, KM_GROUP_BITS), g1));
            number = _mm512_mask_mov_epi16(
                number, third, _mm512_or_si512(_mm512_slli_epi16(number, KM_GROUP_BITS), g2));
            idle |= _mm512_mask_testn_epi16_mask(ends & second,
                                                 _mm512_add_epi16(g0, _mm512_srli_epi16(g1, 4)),
                                                 _mm512_set1_epi16(-1));
            _mm512_storeu_si512(differences + n, _mm512_maskz_compress_epi16(ends, number));
            n += (unsigned)_mm_popcnt_u32(ends);
            at += length;
            if (limit < CHARACTERS) {
                at -= length - limit + 3;
                history = 0;
            }
        }
        _mm256_storeu_si256((__m256i *)(differences + n), _mm256_setzero_si256());
        sum_up_avx512(differences, n, before, runs, &codes->sums[odd], &codes->sums[!odd], &beyond);
        runs += n;
        odd ^= n & 1;
        before = runs - 2;
    }
    __m256i wrong = _mm256_and_si256(characters, _mm256_set1_epi8((char)~(KM_MORE | KM_GROUP)));
    codes->odd = ((end[-1] - KM_OFFSET) & KM_MORE) || idle || !_mm256_testz_si256(wrong, wrong) ||
                 _mm512_test_epi32_mask(beyond, beyond);
    codes->at = at;
    codes->runs = runs;
}

/* As write_codes_avx2, for 16. */
AVX512 static char *write_codes_avx512(const uint32_t *runs, size_t n, char *text)
{
    size_t i = 0;
    for (; i < n; i += 16) {
        __mmask16 here = (__mmask16)_bzhi_u32(UINT32_MAX, n - i < 16 ? (unsigned)(n - i) : 16);
        __m512i now = _mm512_maskz_loadu_epi32(here, runs + i);
        __m512i before = _mm512_maskz_loadu_epi32(here, runs + i - 2);
        __m512i x = _mm512_sub_epi32(now, before);
        __m512i size = _mm512_xor_si512(x, _mm512_srai_epi32(x, 31));
        if (_mm512_cmpge_epu32_mask(_mm512_or_si512(now, before), _mm512_set1_epi32(INT32_MIN)) |
            _mm512_cmpge_epi32_mask(size, _mm512_set1_epi32(1 << 19))) {
            text = write_codes_scalar(runs + i, n - i < 16 ? n - i : 16, text);
            continue;
        }
        __m512i more = _mm512_maskz_set1_epi32(
            _mm512_cmpge_epi32_mask(size, _mm512_set1_epi32(1 << 4)), KM_MORE);
        more = _mm512_mask_or_epi32(more, _mm512_cmpge_epi32_mask(size, _mm512_set1_epi32(1 << 9)),
                                    more, _mm512_set1_epi32(KM_MORE << 8));
        more = _mm512_mask_or_epi32(more, _mm512_cmpge_epi32_mask(size, _mm512_set1_epi32(1 << 14)),
                                    more, _mm512_set1_epi32(KM_MORE << 16));
        __m512i characters = _mm512_and_si512(x, _mm512_set1_epi32(KM_GROUP));
        characters =
            _mm512_or_si512(characters, _mm512_and_si512(_mm512_slli_epi32(x, 3),
                                                         _mm512_set1_epi32(KM_GROUP << 8)));
        characters =
            _mm512_or_si512(characters, _mm512_and_si512(_mm512_slli_epi32(x, 6),
                                                         _mm512_set1_epi32(KM_GROUP << 16)));
        characters =
            _mm512_or_si512(characters, _mm512_and_si512(_mm512_slli_epi32(x, 9),
                                                         _mm512_set1_epi32(KM_GROUP << 24)));
        characters =
            _mm512_add_epi8(_mm512_add_epi8(characters, more), _mm512_set1_epi8(KM_OFFSET));
        /* The first of each code, and what follows one that says more. */
        __m512i kept_bytes =
            _mm512_or_si512(_mm512_slli_epi32(more, 8), _mm512_maskz_set1_epi32(here, KM_MORE));
        __mmask64 kept = _mm512_test_epi8_mask(kept_bytes, kept_bytes);
        _mm512_storeu_si512(text, _mm512_maskz_compress_epi8(kept, characters));
        text += _mm_popcnt_u64(kept);
    }
    return text;
}

AVX512 static void fill_avx512(const uint32_t *runs, size_t n_runs, uint8_t value, uint8_t *pixels)
{
    size_t left = 0;
    for (size_t i = 0; i < n_runs; i++)
        left += runs[i];
    __m512i colours[2] = {_mm512_set1_epi8((char)value), _mm512_setzero_si512()};
    for (size_t i = 0; i < n_runs; i++) {
        size_t n = runs[i];
        left -= n;
        if (left < 64) {
            memset(pixels, i & 1 ? 0 : value, n);
        } else {
            __m512i colour = colours[i & 1];
            for (size_t j = 0; j < n; j += 64)
                _mm512_storeu_si512(pixels + j, colour);
        }
        pixels += n;
    }
}

AVX512 static uint64_t count_shared_avx512(const km_block *block)
{
    __m512i sum = _mm512_setzero_si512();
    const uint64_t *a = block->a, *b = block->b;
    for (size_t band = 0; band < block->bands; band++, a += block->width_a, b += block->width_b) {
        for (size_t i = 0; i < block->columns; i += KM_BLOCK) {
            __m512i both = _mm512_and_si512(_mm512_load_si512(a + i), _mm512_load_si512(b + i));
            sum = _mm512_add_epi64(sum, _mm512_popcnt_epi64(both));
        }
    }
    return (uint64_t)_mm512_reduce_add_epi64(sum);
}

/* 32 channels, widened to 16 bits; see km_tint. */
AVX512 static inline __m256i tint32_avx512(__m256i channels, const uint16_t *source, __m512i keep)
{
    __m512i x = _mm512_mullo_epi16(_mm512_cvtepu8_epi16(channels), keep);
    x = _mm512_add_epi16(x, _mm512_loadu_si512(source));
    return _mm512_cvtepi16_epi8(_mm512_mulhi_epu16(x, _mm512_set1_epi16(257)));
}

AVX512 static inline void tint_some_avx512(uint8_t *pixels, __mmask32 mask, const uint16_t *source,
                                           __m512i keep)
{
    __m256i channels = _mm256_maskz_loadu_epi8(mask, pixels);
    _mm256_mask_storeu_epi8(pixels, mask, tint32_avx512(channels, source, keep));
}

/* No spans: a word is laid as a whole, or the bits of 16 pixels become the mask of
 * their bytes. */
AVX512 static void blend_avx512(const uint64_t *bits, size_t words, unsigned channels,
                                const km_tint *tint, uint8_t *pixels)
{
    enum { STEP = 16 };
    __m512i keep = _mm512_set1_epi16((short)tint->keep);
    uint64_t firsts = channels == 3 ? UINT64_C(0x249249249249) : UINT64_C(0x1111111111111111);
    for (size_t i = 0; i < words; i++) {
        uint8_t *at = pixels + i * KM_WORD * channels;
        if (bits[i] == ~UINT64_C(0)) {
            for (unsigned j = 0; tint->keep == 0 && j < KM_WORD * channels; j += 64)
                _mm512_storeu_si512(at + j, _mm512_loadu_si512(tint->color + j % KM_TINT_BYTES));
            for (unsigned j = 0; tint->keep > 0 && j < KM_WORD * channels; j += 32) {
                __m256i *place = (__m256i *)(at + j);
                const uint16_t *source = tint->source + j % KM_TINT_BYTES;
                _mm256_storeu_si256(place, tint32_avx512(_mm256_loadu_si256(place), source, keep));
            }
            continue;
        }
        for (uint64_t word = bits[i]; word; word >>= STEP, at += STEP * channels) {
            uint64_t mask = _pdep_u64(word & 0xffff, firsts) * (channels == 3 ? 7 : 15);
            if (mask == 0)
                continue;
            tint_some_avx512(at, (__mmask32)mask, tint->source, keep);
            tint_some_avx512(at + 32, (__mmask32)(mask >> 32), tint->source + 32, keep);
        }
    }
}

AVX512 static void stamp_avx512(const uint64_t *bits, size_t n, const uint8_t *color,
                                uint8_t *pixels)
{
    int value;
    memcpy(&value, color, sizeof value);
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 set = (__mmask16)(bits[i / KM_WORD] >> i % KM_WORD);
        __m512i sixteen = _mm512_maskz_set1_epi32(set, value);
        if (n - i >= 16)
            _mm512_storeu_si512(pixels + 4 * i, sixteen);
        else
            _mm512_mask_storeu_epi32(pixels + 4 * i,
                                     (__mmask16)_bzhi_u32(UINT32_MAX, (unsigned)(n - i)), sixteen);
    }
}

#define write_dense_avx512 write_dense_avx2
#define set_runs_avx512 set_runs_avx2
#define overlap_avx512 overlap_avx2
#define rows_of_avx512 rows_of_avx2

static const km_kernels avx512 = KERNELS(avx512);

/* That of AMD's; without it the instruction would run as another, and wrongly. Not all
 * compilers know it by name. */
static bool has_lzcnt(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(0x80000001, &a, &b, &c, &d) && (c & 1 << 5);
}

static bool has_avx2(void)
{
    return has_lzcnt() && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt");
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("avx512vpopcntdq");
}

#endif

/* ---- the choice ---- */

km_kernels km_simd = KERNELS(scalar);

bool km_simd_select(const char *level)
{
    /* From the best on; AVX-512 comes with AVX2. */
    static const km_kernels *const kernels[] = {
#if X86
        &avx512, &avx2,
#endif
        &scalar};
    size_t first = 0;
#if X86
    fill_tables();
    first = has_avx512() ? 0 : has_avx2() ? 1 : 2;
    bool in_turns = first > 0;
#else
    bool in_turns = true;
#endif
    for (size_t i = first; i < sizeof kernels / sizeof *kernels; i++)
        if (!level || strcmp(level, kernels[i]->name) == 0) {
            km_simd = *kernels[i];
            km_simd.in_turns = in_turns;
            return true;
        }
    return false;
}
