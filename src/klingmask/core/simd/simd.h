/* The kernels: the few inner loops that are worth vector code, in a table that is filled at run
 * time.
 *
 * Each kernel is written in plain C (scalar.c), which is its reference, and again at the levels
 * where vectors are faster. All levels give the same results, to the byte. The table, and the
 * shuffles that some kernels look up, are the only state of the core: km_simd_select sets them
 * before anything else is called.
 *
 * A word is 64 bits. The layouts of bits that the kernels work on are drawn in core/README.md.
 */
#ifndef KLINGMASK_SIMD_H
#define KLINGMASK_SIMD_H

#include "bits.h"
#include "klingmask.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    KM_CACHE_LINE = 64,  /* bytes */
    KM_VECTOR_WORDS = 8, /* words of the longest vector, and of a cache line */
};

/* Some processors access memory faster as KM_STREAMS interleaved streams, KM_STREAMS_APART bytes or
 * more apart. If the core chooses the distance, it is KM_STREAM_BYTES. */
enum {
    KM_STREAMS = 4,
    KM_STREAMS_APART = 8192,
    KM_STREAM_BYTES = 16384,
};

/* ---- arguments and results of the kernels ---- */

/* Changes in a word of a column-major line. */
typedef struct {
    uint64_t bits;  /* bit i: pixel first + i differs from the one before it */
    uint32_t first; /* in column-major order */
} km_changes;

/* How many changes there are, and how many words that have some. */
typedef struct {
    size_t changes, words;
} km_tally;

/* Changes in 64 rows by 64 columns. */
typedef struct km_tile {
    uint64_t columns[KM_WORD]; /* of column i at km_tile_slot(i); bit j: row `row` + j differs
                                  from the row above it */
    uint64_t changed_columns;  /* bit i: column i has changes */
    uint32_t row, word;        /* the first row; the first column is 64 * word */
    struct km_tile *next;      /* for the caller; kernels do not touch it */
} km_tile;

/* The index of a column in km_tile.columns (and of a row, before the tile is transposed). Columns
 * c, c + 16, c + 32 and c + 48 are next to each other: a vector of 256 bits. A tile is transposed
 * by swaps at distances of 1 to 32; with this order, those at 1, 2, 4 and 8 are between two
 * vectors, and those at 16 and 32 within one. */
static inline unsigned km_tile_slot(unsigned column)
{
    return column % 16 * 4 + column / 16;
}

/* The state of reading codes. Reading may stop and start again: see read_text in counts.c. */
typedef struct {
    const char *text, *at, *end; /* the first character; the next to be read, which starts a code
                                    and has two or more before it; the end of the text */
    uint32_t *runs;              /* where the next run goes */
    uint32_t before[2];          /* the runs that the first two codes are differences to */
    uint64_t sums[2];            /* sums of the first, third, ... run and of the others */
    bool malformed;              /* if true, the other fields are undefined */
} km_codes;

/* The rows that foreground takes up. */
typedef struct {
    const uint32_t *runs; /* background and foreground in turn */
    size_t pairs;         /* pairs of a background and a foreground run; at least one */
    uint32_t height;      /* of an image with fewer than 2**31 pixels and 2**20 columns: so a
                             quotient computed as a float is within 1 of the true one */
    uint64_t top, bottom; /* result: the first row and the one after the last; `bottom` is more
                             than the height if some run goes on in the next column */
} km_row_range;

/* A colour to blend over pixels. Byte i becomes (color[i] * alpha + byte * keep) / 255, rounded to
 * nearest, where keep = 255 - alpha. It is computed as (added[i] + byte * keep) * 257 / 65536,
 * rounded down, with added[i] = color[i] * alpha + 128: for these sums of 16 bits the two are
 * equal. The pattern of colours, of 3 or 4 bytes a pixel, repeats after KM_TINT_BYTES. */
enum { KM_TINT_BYTES = 192 };
typedef struct {
    uint16_t added[KM_TINT_BYTES];
    uint8_t color[KM_TINT_BYTES]; /* the result if `keep` is 0 */
    uint16_t keep;
} km_tint;

/* The parts of two masks' bands that cover the same pixels. Addresses, widths and columns are
 * multiples of KM_VECTOR_WORDS words. */
typedef struct {
    const uint64_t *a, *b;
    size_t width_a, width_b; /* words from one band to the next */
    size_t columns, bands;
} km_band_pair;

/* ---- the table ---- */

/* Kernels read and write only the given arrays, unless the comment on a kernel says more. */
typedef struct {
    const char *name; /* of the level */

    /* Whether memory is read and cleared as KM_STREAMS streams. It depends on the processor, not
     * on the level: false if the processor has AVX-512, see core/README.md. */
    bool interleave;

    /* -- pixels -> bits -- */

    /* Packs pixels into row-major words: a bit for each pixel, 1 if the pixel is not 0. There are
     * rows x columns pixels, `stride` bytes from row to row. Each row has km_words(columns) words;
     * bits past its last column are 0. */
    void (*pack_rows)(const uint8_t *pixels, ptrdiff_t stride, size_t rows, size_t columns,
                      uint64_t *bits);

    /* Counts the pixels before the first that is not 0, among n. The result is a multiple of 64
     * and may be too low. */
    size_t (*skip_background)(const uint8_t *pixels, size_t n);

    /* -- bits -> changes -> runs -- */

    /* Makes tiles of up to 64 rows of row-major words. The first row is row `row` of the image; the
     * words of the row above it are in memory just before `bits`. Writes a tile for each 64 columns
     * in which some pixel differs from the one above, from left to right; there is room for `words`
     * tiles. Adds to the tally the changes, and (as words) the columns with changes. Returns the
     * number of tiles. Reads up to KM_VECTOR_WORDS - 1 words past the last. */
    size_t (*transpose_rows)(const uint64_t *bits, size_t rows, size_t words, uint32_t row,
                             km_tile *tiles, km_tally *tally);

    /* Lists the words of a column-major line that have changes. Bit 0 of the first word is for
     * pixel `pixel`; the word before it is at bits[-1]. There is room for as many items as words,
     * rounded up to a multiple of KM_VECTOR_WORDS, and all of it may be written. Adds to the tally.
     * Returns the number of items. Reads up to KM_VECTOR_WORDS - 1 words past the last. */
    size_t (*list_line)(const uint64_t *bits, size_t words, uint32_t pixel, km_changes *listed,
                        km_tally *tally);

    /* Writes one run for each change; the run ends at that change. The first starts at `end`. Each
     * of the n items has changes. Returns where the next run goes. Meant for words with several
     * changes: see km_is_dense in runs.h. */
    uint32_t *(*write_dense)(const km_changes *listed, size_t n, uint32_t end, uint32_t *runs);

    /* -- runs -> bits -- */

    /* Sets bits in a column-major line: bit 0 of `bits` is for pixel `from`, the last for pixel
     * `to` - 1. The n runs follow each other from pixel `start` on; those at even indices set their
     * bits. None but the first is empty. May rewrite the KM_VECTOR_WORDS words after the last with
     * their own values. */
    void (*set_runs)(const uint32_t *runs, size_t n, uint64_t start, uint64_t from, uint64_t to,
                     uint64_t *bits);

    /* -- bits and runs -> pixels -- */

    /* Writes pixels from row-major words of changes: `value` where the number of changes in the
     * column down to the pixel is odd, else 0. Each row has km_words(skip + columns) words; its
     * first `skip` < 64 bits are no pixels. These bits and those past the last column are 0. On
     * return, `changes` holds the foreground. With `past_caches`, there are 64 columns or more, and
     * bit 0 of each word is for a pixel that starts a cache line. */
    void (*paint_rows)(uint64_t *changes, size_t rows, size_t columns, unsigned skip, uint8_t value,
                       bool past_caches, uint8_t *pixels, ptrdiff_t stride);

    /* Writes runs of foreground (`value`) and background (0) in turn, one after the other. */
    void (*fill_runs)(const uint32_t *runs, size_t n_runs, uint8_t value, uint8_t *pixels);

    /* Sets n bytes to 0, as memset does. Uses vector stores where they are faster: if the bytes are
     * in the L2 cache (`in_l2`), or as several streams. */
    void (*clear)(uint8_t *pixels, size_t n, bool in_l2);

    /* Writes n pixels of 4 bytes: the color where the bit is set, else 0. */
    void (*stamp)(const uint64_t *bits, size_t n, const uint8_t *color, uint8_t *pixels);

    /* Blends a tint over the pixels whose bits are set; pixels have `channels` bytes, 3 or 4. */
    void (*blend)(const uint64_t *bits, size_t words, unsigned channels, const km_tint *tint,
                  uint8_t *pixels);

    /* -- counts text -- */

    /* Reads codes of up to three characters that are differences to the run two before. Stops at
     * the end or before a longer code. Malformed is a bad character, a code that is cut off or
     * longer than needed, and a run outside 1 to 2**25. May write KM_READ_SLACK runs past the last.
     * NULL at levels where it would not be faster than read_text, code by code. */
    void (*read_codes)(km_codes *codes);

    /* Writes the codes of n runs as differences to the run two before; runs[-2] and runs[-1] exist.
     * Returns the end of the text. May write 64 characters past it. */
    char *(*write_codes)(const uint32_t *runs, size_t n, char *text);

    /* -- measures -- */

    /* Finds top and bottom. NULL at levels where it would not be faster than run by run. */
    void (*row_range)(km_row_range *range);

    /* Counts the bits that are set in both masks. */
    uint64_t (*count_shared)(const km_band_pair *block);

    /* Counts the pixels that both masks have: for each column, the rows that spans of one mask
     * share with spans of the other. */
    uint64_t (*overlap_spans)(const km_spans *a, size_t n_a, const km_spans *b, size_t n_b);
} km_kernels;

extern km_kernels km_simd;

/* Selects the kernels of a level, "scalar", "avx2" or "avx512", or (NULL) of the best level that
 * this machine has. Returns false, and changes nothing, if the machine does not have the level. */
bool km_simd_select(const char *name);

#endif
