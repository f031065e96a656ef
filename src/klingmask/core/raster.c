/* runs <-> pixels, in both memory orders.
 *
 * Runs go down the columns; most pixels in memory go along the rows. Neither
 * direction visits pixel after pixel with a stride: on the way between there
 * is a bit for each pixel, row-major, and a bit set in the *changes* means
 * that the pixel differs from the one before it in column-major order. A run
 * costs two changes, however long it is, and 64 pixels are a word. Changes that
 * are found row by row are transposed, in tiles of 64 x 64, to be read down the
 * columns.
 */
#include "bits.h"
#include "klingmask.h"
#include "runs.h"
#include "simd/simd.h"

#include <string.h>

/* ---- runs -> pixels ---- */

void km_decode_columns(const km_mask *mask, uint8_t value, km_target target, uint8_t *pixels)
{
    bool near = target == KM_TO_CORE;
    size_t n = mask->n_runs, before = mask->runs[0], after = 0;
    if (km_pixels(mask) == 0) /* `pixels` may be NULL */
        return;
    if (n > 2 && n % 2)
        after = mask->runs[--n];
    /* Most of the background is before the first run of foreground and after the last. */
    km_simd.clear(pixels, before, near);
    km_simd.fill_runs(mask->runs + 1, n - 1, value, pixels + before);
    km_simd.clear(pixels + km_pixels(mask) - after, after, near);
}

/* The part of the image that there are bits for. Each row has `words` words of them, of which the
 * first `skip` bits are left out. */
typedef struct {
    km_box box;
    uint32_t skip;
    size_t words;
    uint64_t *changes;
} km_window;

size_t km_decode_rows_scratch(uint32_t height, uint32_t width)
{
    return height * km_words((uint64_t)width + KM_CACHE_LINE);
}

static inline void change(const km_window *window, uint64_t row, uint32_t column)
{
    uint64_t bit = (uint64_t)column - window->box.x + window->skip;
    window->changes[(row - window->box.y) * window->words + bit / KM_WORD] ^= UINT64_C(1)
                                                                              << bit % KM_WORD;
}

/* Sets the bits of the pixels that differ from the one above, and clears the others, in a window
 * with all foreground. Every column starts from background: one that the run above it enters
 * begins with a change. */
static void draw_changes(const km_mask *mask, const km_window *window)
{
    uint32_t height = mask->height;
    uint64_t bottom = (uint64_t)window->box.y + window->box.height;
    km_pixel pixel = {0, 0};
    memset(window->changes, 0, window->box.height * window->words * sizeof *window->changes);
    for (size_t i = 1; i < mask->n_runs; i += 2) {
        km_skip(&pixel, mask->runs[i - 1], height);
        uint64_t end = pixel.row + mask->runs[i];
        change(window, pixel.row, pixel.column);
        for (; end > height; end -= height)
            change(window, 0, ++pixel.column);
        if (end < bottom)
            change(window, end, pixel.column);
        pixel.row = end;
    }
}

/* Background all over. */
static void clear(uint8_t *pixels, ptrdiff_t stride, uint32_t height, uint32_t width, bool near)
{
    if (stride == (ptrdiff_t)width) {
        km_simd.clear(pixels, (size_t)height * width, near);
        return;
    }
    for (uint32_t y = 0; y < height; y++)
        km_simd.clear(pixels + (ptrdiff_t)y * stride, width, near);
}

bool km_is_narrow(const km_mask *mask)
{
    uint32_t left = 0, right = 0;
    if (mask->n_runs >= 2)
        km_columns(mask, &left, &right);
    return right - left <= mask->width / 2;
}

void km_decode_rows(const km_mask *mask, uint8_t value, bool cleared, km_target target,
                    uint8_t *pixels, ptrdiff_t stride, uint64_t *scratch)
{
    uint32_t height = mask->height, width = mask->width;
    if (height == 0 || width == 0)
        return;
    km_box box = km_bounds(mask);
    bool lines = stride % KM_CACHE_LINE == 0, near = target == KM_TO_CORE;
    bool past_caches = target == KM_TO_MEMORY && lines && !cleared;
    bool narrow = cleared || (!past_caches && km_is_narrow(mask));
    if (narrow && !cleared)
        clear(pixels, stride, height, width, near);
    if (narrow && box.width == 0)
        return;
    /* Vectors are stored fastest where they do not cross cache lines. Where all
     * rows start alike, words of bits start where lines do. */
    uint32_t past = lines ? (uint32_t)((uintptr_t)pixels % KM_CACHE_LINE) : 0, skip = past;
    uint32_t left = 0, right = narrow ? box.x + box.width : width;
    if (narrow && (box.x + past) % KM_CACHE_LINE <= box.x) {
        left = box.x - (box.x + past) % KM_CACHE_LINE;
        skip = 0;
    }
    if (past_caches) { /* rows of background are painted, too */
        box.y = 0;
        box.height = height;
    } else if (!narrow) {
        uint32_t bottom = box.y + box.height;
        clear(pixels, stride, box.y, width, near);
        clear(pixels + (ptrdiff_t)bottom * stride, stride, height - bottom, width, near);
    }
    km_window window = {{left, box.y, right - left, box.height},
                        skip,
                        km_words((uint64_t)right - left + skip),
                        scratch};
    draw_changes(mask, &window);
    km_simd.paint_rows(scratch, box.height, right - left, skip, value, past_caches,
                       pixels + (ptrdiff_t)box.y * stride + left, stride);
}

void km_draw_bits(const km_mask *mask, km_box box, uint64_t *bits)
{
    size_t words = km_words(box.width);
    if (box.width == 0)
        return;
    km_window window = {box, 0, words, bits};
    draw_changes(mask, &window);
    for (size_t i = words; i < box.height * words; i++)
        bits[i] ^= bits[i - words];
}

/* ---- pixels -> runs ---- */

enum {
    BLOCK = KM_STREAMS *
            KM_STREAM_BYTES, /* pixels that a line is looked at by, if it is read in turns, */
    SHORT_BLOCK = 16384,     /* or, if not, by so few that its bits and it stay near */
    CHANGES_WORDS = (sizeof(km_changes) + 7) / 8,
    TILE_WORDS = (sizeof(km_tile) + 7) / 8
};

/* What is between the two steps of encoding, at the start of the caller's scratch: how many words
 * or tiles with changes there are, and whether those are dense. */
typedef struct {
    uint64_t n, dense;
} km_found;

enum { FOUND_WORDS = (sizeof(km_found) + 7) / 8 };

/* After that, for rows: the bits of those that are looked at, behind those of the row above; the
 * first tile of each 64 columns, or NULL; and the tiles. */
typedef struct {
    km_found *found;
    uint64_t *bits;
    km_tile **firsts;
    km_tile *tiles;
} km_scan;

static uint32_t rows_of_tile(uint32_t height)
{
    return height < KM_WORD ? height : KM_WORD;
}

static km_scan scan_of_rows(uint64_t *scratch, uint32_t height, uint32_t width)
{
    size_t words = km_words(width);
    uint64_t *bits = scratch + FOUND_WORDS + words;
    km_tile **firsts = (km_tile **)(bits + words * rows_of_tile(height) + KM_VECTOR_WORDS);
    return (km_scan){(km_found *)scratch, bits, firsts, (km_tile *)((uint64_t *)firsts + words)};
}

/* A tile is an eighth of a byte for a pixel; if there are fewer than 64 rows, 64 / height times
 * that. */
size_t km_scan_rows_scratch(uint32_t height, uint32_t width)
{
    size_t words = km_words(width);
    if (height == 0 || width == 0)
        return 1;
    return FOUND_WORDS + words * (1 + rows_of_tile(height)) + KM_VECTOR_WORDS + words +
           TILE_WORDS * words * km_words(height);
}

/* Where the changes of columns are: after that and the block, with a word before. */
static size_t listed_at(size_t words)
{
    size_t block = BLOCK / KM_WORD;
    return FOUND_WORDS + 1 + (words < block ? words : block) + KM_VECTOR_WORDS;
}

size_t km_scan_columns_scratch(uint32_t height, uint32_t width)
{
    size_t words = km_words((size_t)height * width);
    return listed_at(words) +
           CHANGES_WORDS * (words + KM_VECTOR_WORDS); /* rounded up, for list_line */
}

size_t km_scan_columns(const uint8_t *pixels, uint32_t height, uint32_t width, uint64_t *scratch)
{
    size_t n = (size_t)height * width, n_listed = 0;
    km_tally tally = {0, 0};
    uint64_t *bits = scratch + FOUND_WORDS + 1;
    km_changes *listed = (km_changes *)(scratch + listed_at(km_words(n)));
    bool blank = true; /* the end of the last block, if any: then what follows probably is, too */
    size_t block = km_simd.interleave ? BLOCK : SHORT_BLOCK;
    bits[-1] = 0;
    for (size_t first = 0, some; first < n; first += some) {
        if (blank)
            first += km_simd.skip_background(pixels + first, n - first);
        some = n - first < block ? n - first : block;
        size_t words = km_words(some);
        if (words == 0)
            break;
        /* A line is read in several places if it can be cut into rows of whole words. */
        size_t rows = some == BLOCK ? KM_STREAMS : 1;
        km_simd.pack_rows(pixels + first, (ptrdiff_t)(some / rows), rows, some / rows, bits);
        uint64_t *last = &bits[words - 1];
        unsigned tail = some % KM_WORD;
        if (tail > 0 && *last >> (tail - 1))
            *last |= ~UINT64_C(0) << tail; /* so that the last pixel is not followed by a change */
        size_t found = km_simd.list_line(bits, words, (uint32_t)first, listed + n_listed, &tally);
        n_listed += found;
        bits[-1] = *last;
        size_t last_quarter = first + some / 4 * 3;
        blank = *last == 0 && (found == 0 || listed[n_listed - 1].first < last_quarter);
    }
    *(km_found *)scratch = (km_found){n_listed, km_is_dense(tally)};
    return tally.changes + 1;
}

void km_runs_columns(const uint64_t *scratch, uint32_t height, uint32_t width, uint32_t *runs)
{
    const km_found *found = (const km_found *)scratch;
    size_t at = listed_at(km_words((size_t)height * width));
    uint32_t end = 0;
    runs = km_write_runs((const km_changes *)(scratch + at), found->n, found->dense, &end, runs);
    *runs = height * width - end;
}

/* Links the tiles of the same columns, from top to bottom. */
static void link_tiles(const km_scan *scan, size_t words)
{
    for (size_t word = 0; word < words; word++)
        scan->firsts[word] = NULL;
    for (uint64_t i = scan->found->n; i-- > 0;) {
        km_tile *tile = &scan->tiles[i], **first = &scan->firsts[tile->word];
        tile->next = *first;
        *first = tile;
    }
}

static bool is_clear(const uint64_t *bits, size_t words)
{
    uint64_t any = 0;
    for (size_t i = 0; i < words; i++)
        any |= bits[i];
    return any == 0;
}

size_t km_scan_rows(const uint8_t *pixels, ptrdiff_t stride, uint32_t height, uint32_t width,
                    uint64_t *scratch)
{
    if (height == 0 || width == 0)
        return 1;
    km_scan scan = scan_of_rows(scratch, height, width);
    size_t words = km_words(width), n_tiles = 0;
    km_tally tally = {0, 0};
    /* Before the first pixel of a column comes the last of the column to its
     * left: above row 0 is the last row, one column further. */
    uint64_t *above = scan.bits - words, carry = 0;
    km_simd.pack_rows(pixels + (ptrdiff_t)(height - 1) * stride, stride, 1, width, above);
    for (size_t i = 0; i < words; i++) {
        uint64_t word = above[i];
        above[i] = word << 1 | carry;
        carry = word >> (KM_WORD - 1);
    }
    if (width % KM_WORD)
        above[words - 1] &= km_range(0, width % KM_WORD);
    bool blank = is_clear(above, words); /* the last rows, as above */
    for (uint32_t row = 0, rows; row < height; row += rows) {
        const uint8_t *at = pixels + (ptrdiff_t)row * stride;
        if (blank && stride == (ptrdiff_t)width) {
            size_t skipped = km_simd.skip_background(at, (size_t)(height - row) * width) / width;
            row += (uint32_t)skipped;
            at += skipped * width;
        }
        rows = rows_of_tile(height - row);
        if (rows == 0)
            break;
        km_simd.pack_rows(at, stride, rows, width, scan.bits);
        size_t found =
            km_simd.transpose_rows(scan.bits, rows, words, row, scan.tiles + n_tiles, &tally);
        n_tiles += found;
        memcpy(above, scan.bits + (rows - 1) * words, words * sizeof *above);
        blank = found == 0 && is_clear(above, words);
    }
    *scan.found = (km_found){n_tiles, km_is_dense(tally)};
    link_tiles(&scan, words);
    return tally.changes + 1;
}

void km_runs_rows(uint64_t *scratch, uint32_t height, uint32_t width, uint32_t *runs)
{
    if (height == 0 || width == 0) {
        runs[0] = 0;
        return;
    }
    km_scan scan = scan_of_rows(scratch, height, width);
    uint32_t end = 0;
    bool dense = scan.found->dense;
    km_changes listed[KM_LISTED];
    size_t n_listed = 0;
    for (size_t word = 0; word < km_words(width); word++) {
        uint64_t any = 0;
        const km_tile *first = scan.firsts[word];
        for (const km_tile *tile = first; tile; tile = tile->next)
            any |= tile->changed_columns;
        for (; any; any &= any - 1) {
            uint32_t in_word = km_lowest_one(any), column = (uint32_t)word * KM_WORD + in_word;
            for (const km_tile *tile = first; tile; tile = tile->next) {
                km_changes changes = {tile->columns[km_tile_slot(in_word)],
                                      column * height + tile->row};
                if (!dense) { /* the list would cost a tenth of the whole */
                    runs = km_write_ends(changes, &end, runs);
                    continue;
                }
                listed[n_listed] = changes;
                n_listed += changes.bits != 0;
                if (n_listed == KM_LISTED) {
                    runs = km_write_runs(listed, n_listed, dense, &end, runs);
                    n_listed = 0;
                }
            }
        }
    }
    runs = km_write_runs(listed, n_listed, dense, &end, runs);
    *runs = height * width - end;
}
