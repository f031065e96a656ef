/* The few inner loops that are worth vector code, and the one place that picks
 * among their variants at run time.
 *
 * Each kernel has a plain C variant, which says what it does, or its caller has;
 * and variants for what the processor has. All give the same bytes. The table
 * below, and tables that some of them look up, are the only state of the core;
 * they are set once, before anything else is called.
 */
#ifndef KLINGMASK_SIMD_H
#define KLINGMASK_SIMD_H

#include "bits.h"
#include "klingmask.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { KM_LINE = 64 }; /* bytes of a line of the caches */

/* Many processors' memory gives more when it is read in so many places that are so many bytes from
 * each other, or KM_LONG where the distance is ours to choose. */
enum { KM_PLACES = 4, KM_FAR = 8192, KM_LONG = 16384 };

/* The rows that foreground takes up. */
typedef struct {
    const uint32_t *runs; /* background and foreground in turn */
    size_t pairs;         /* of the two; there is one */
    uint32_t height;      /* of an image of less than 2**31 pixels, in less than 2**20
                             columns: quotients as floats are within 1 of those */
    uint64_t top, bottom; /* found: the first row, and the one after the last; over the height
                             if some foreground goes on into the next column */
} km_rows;

/* Where pixels change: 64 of them, from pixel `first` on in column-major order. */
typedef struct {
    uint64_t bits;
    uint32_t first;
} km_changes;

/* How many changes there are, and in how many words. */
typedef struct {
    size_t changes, words;
} km_tally;

/* Where pixels change in 64 rows, from `row` on, and 64 columns, from 64 * word on: a word for
 * each column, of which bit i is for row `row` + i. */
typedef struct km_tile {
    uint64_t columns[KM_WORD]; /* at its km_place */
    uint64_t any;              /* the columns that have changes */
    uint32_t row, word;
    struct km_tile *next; /* the caller's */
} km_tile;

/* Columns c, c + 16, c + 32 and c + 48 lie side by side, and before the tile is transposed so do
 * these rows: they are a vector. The swaps at distances of 1, 2, 4 and 8 are between vectors
 * then; those at 16 and 32 are within them. */
static inline unsigned km_place(unsigned column)
{
    return column % 16 * 4 + column / 16;
}

/* Reading of short codes, resumable: see read_text in counts.c. */
typedef struct {
    const char *text, *at, *end; /* its start, and what is still to be read: from the start of
                                    a code on, and of the third character at least */
    uint32_t *runs;              /* where the next run goes, and up to KM_READ_SLACK more may */
    uint32_t before[2];          /* what the first two numbers are differences to */
    uint64_t sums[2];            /* of the runs, every other from the first and the second on */
    bool odd;                    /* something was out of the ordinary: the rest is void */
} km_codes;

/* A colour to be laid over pixels: channel i becomes
 * (source[i] + channel * keep) / 255, to the nearest, with the 128 that rounding
 * takes already in source = color * alpha + 128, and keep = 255 - alpha. For sums of
 * 16 bits, sum * 257 / 65536 is just that. Pixels of 3 and of 4 bytes repeat after
 * KM_TINT_BYTES. */
enum { KM_TINT_BYTES = 192 };
typedef struct {
    uint16_t source[KM_TINT_BYTES];
    uint8_t color[KM_TINT_BYTES]; /* what comes out if nothing is kept */
    uint16_t keep;
} km_tint;

/* Pieces of two strings of bits: words side by side, band after band. Addresses, widths
 * and columns are multiples of KM_BLOCK words. */
enum { KM_BLOCK = 8 };
typedef struct {
    const uint64_t *a, *b;
    size_t width_a, width_b; /* words from one band to the next */
    size_t columns, bands;
} km_block;

typedef struct {
    const char *name;

    /* Whether memory is read and cleared in KM_PLACES that take turns: not by processors that are
     * known to have AVX-512, whichever level is used on them. Of those that were measured, the ones
     * without it gain up to a half, and a Zen 5 loses a half. */
    bool in_turns;

    /* A bit for every pixel that is not 0, of rows x columns pixels, `stride` bytes from row
     * to row. A row is a whole number of words; past its last column they are 0. Rows that
     * are KM_FAR bytes apart may be read in turns. */
    void (*pack_rows)(const uint8_t *pixels, ptrdiff_t stride, size_t rows, size_t columns,
                      uint64_t *bits);

    /* How many of n pixels are 0 from the first on; a number of whole words, and it may be
     * too low. */
    size_t (*skip_clear)(const uint8_t *pixels, size_t n);

    /* Lists the tiles of up to 64 rows in which pixels differ from the one above, from left to
     * right; there may be one for each word of a row. The first is row `row`, the words of the row
     * above it are in memory before it, and those of the others follow without gaps; up to
     * KM_BLOCK - 1 words past the last are read. Adds up the changes, and the words of the columns
     * that have some. Returns the number of tiles. */
    size_t (*transpose_rows)(const uint64_t *bits, size_t rows, size_t words, uint32_t row,
                             km_tile *tiles, km_tally *tally);

    /* Lists the words, of which the first is for the pixels from `pixel` on, that have bits other
     * than the one before; a word with that of the first is in memory before them, and up to
     * KM_BLOCK - 1 words past the last are read. There is room for as many items as words, rounded
     * up to a multiple of KM_BLOCK. Adds up the changes and the words that have some. Returns the
     * number of words listed. */
    size_t (*list_line)(const uint64_t *bits, size_t words, uint32_t pixel, km_changes *listed,
                        km_tally *tally);

    /* Appends a run for each change, which ends there; the one before ended at `end`. There is
     * room for just those, and no word is without changes. Returns the place after the last run.
     * Meant for dense changes, see runs.h. */
    uint32_t *(*write_dense)(const km_changes *listed, size_t n, uint32_t end, uint32_t *runs);

    /* Writes pixels from a bit for each: `value` where the changes down to it are odd, else
     * 0. A row of changes has whole words, of which the first `skip` bits are left out; they are 0,
     * and so are those past the last column. Turns the changes into colours. If they are
     * `streamed`, there are 64 columns or more, and the pixels of a word are of one line of the
     * caches, and do not go through these. */
    void (*paint)(uint64_t *changes, size_t rows, size_t columns, unsigned skip, uint8_t value,
                  bool streamed, uint8_t *pixels, ptrdiff_t stride);

    /* Sets n pixels to 0, as memset does. Vectors are faster: in turns if there are many pixels,
     * and without turns for those that are `near`, in the core's own cache. */
    void (*clear)(uint8_t *pixels, size_t n, bool near);

    /* Runs of foreground and background in turn, one after the other. */
    void (*fill)(const uint32_t *runs, size_t n_runs, uint8_t value, uint8_t *pixels);

    /* Reads codes of up to three characters that are differences to the run two before, a
     * vector at a time. It stops before a longer code. Sets `odd` if a character or a code
     * is not well-formed, or a run is not from 1 to 2**25. NULL if there is no vector for
     * it. */
    void (*read_codes)(km_codes *codes);

    /* Finds the rows of foreground. NULL if there is no vector for it. */
    void (*rows_of)(km_rows *rows);

    /* Writes the codes of n runs as differences to the run two before, and returns
     * where they end; 64 characters more may be written. */
    char *(*write_codes)(const uint32_t *runs, size_t n, char *text);

    /* Sets the bits from..to - 1 that are in every other of the runs, from the first on, which
     * starts at `start`; of those after it, none is empty. Bit `from` is the first one. May write
     * the bits of KM_BLOCK words after the last as they are. */
    void (*set_runs)(const uint32_t *runs, size_t n, uint64_t start, uint64_t from, uint64_t to,
                     uint64_t *bits);

    /* Lays a tint over the pixels of `channels` bytes, 3 or 4, whose bits are set;
     * touches no others. */
    void (*blend)(const uint64_t *bits, size_t words, unsigned channels, const km_tint *tint,
                  uint8_t *pixels);

    /* Writes n pixels of 4 bytes: the color where the bit is set, else 0. */
    void (*stamp)(const uint64_t *bits, size_t n, const uint8_t *color, uint8_t *pixels);

    /* Bits set in both. */
    uint64_t (*count_shared)(const km_block *block);

    /* Pixels that are in a tier of both masks. */
    uint64_t (*overlap)(const km_tier *a, size_t n_a, const km_tier *b, size_t n_b);
} km_kernels;

extern km_kernels km_simd;

/* Picks the kernels: "scalar", "avx2" or "avx512", or NULL for the best there
 * are. Returns false, and changes nothing, if this machine has no such level. */
bool km_simd_select(const char *level);

#endif
