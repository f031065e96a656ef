/* runs <-> pixels, in column-major and in row-major order.
 *
 * Runs go down the columns, and most pixels in memory go along the rows. Stepping from row to row
 * for each pixel would be slow, so there are bits in between, 64 pixels a word. A bit of the
 * *changes* is set if its pixel differs from the one before it in column-major order: a run of
 * foreground has one where it starts and one after its end. Decoding to rows draws the changes of a
 * mask and then, row by row, turns them into foreground. Encoding from rows finds the changes row
 * by row and transposes them in tiles of 64 x 64 to read them down the columns. core/README.md
 * draws these layouts.
 */
#include "bits.h"
#include "klingmask.h"
#include "runs.h"
#include "simd/simd.h"

#include <string.h>

/* ---- runs -> pixels ---- */

void km_decode_columns(const km_mask *mask, uint8_t value, bool cleared, km_destination destination,
                       uint8_t *pixels)
{
    bool in_l2 = destination == KM_TO_L2;
    size_t n = mask->n_runs, before = mask->runs[0], after = 0;
    if (km_pixels(mask) == 0) /* `pixels` may be NULL */
        return;
    if (n > 2 && n % 2)
        after = mask->runs[--n];
    /* Most of the background is before the first run of foreground and after the last. */
    if (!cleared)
        km_simd.clear(pixels, before, in_l2);
    km_simd.fill_runs(mask->runs + 1, n - 1, value, pixels + before);
    if (!cleared)
        km_simd.clear(pixels + km_pixels(mask) - after, after, in_l2);
}

/* A part of the image, as row-major words of changes. Each row has `words` words, of which the
 * first `skip` bits are not used. */
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

/* Draws the changes of a mask whose foreground lies in the window. Here a change is a difference to
 * the pixel above, with background above each column: if a run goes on into a column, the first
 * pixel of that column is a change. */
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

/* Sets all pixels to background. */
static void clear(uint8_t *pixels, ptrdiff_t stride, uint32_t height, uint32_t width, bool in_l2)
{
    if (stride == (ptrdiff_t)width) {
        km_simd.clear(pixels, (size_t)height * width, in_l2);
        return;
    }
    for (uint32_t y = 0; y < height; y++)
        km_simd.clear(pixels + (ptrdiff_t)y * stride, width, in_l2);
}

/* Whether the foreground spans at most half of the columns. Then it is less work to clear the image
 * and paint only these columns. */
static bool is_narrow(const km_mask *mask)
{
    uint32_t left = 0, right = 0;
    if (mask->n_runs >= 2)
        km_columns(mask, &left, &right);
    return right - left <= mask->width / 2;
}

void km_decode_rows(const km_mask *mask, uint8_t value, bool cleared, km_destination destination,
                    uint8_t *pixels, ptrdiff_t stride, uint64_t *scratch)
{
    uint32_t height = mask->height, width = mask->width;
    if (height == 0 || width == 0)
        return;
    km_box box = km_bounds(mask);
    bool in_step = stride % KM_CACHE_LINE == 0; /* every row starts at the same offset in a line */
    bool in_l2 = destination == KM_TO_L2;
    bool past_caches = destination == KM_TO_MEMORY && in_step && !cleared;
    bool narrow = cleared || (!past_caches && is_narrow(mask));
    if (narrow && !cleared)
        clear(pixels, stride, height, width, in_l2);
    if (narrow && box.width == 0)
        return;
    /* Stores that do not cross cache lines are faster: if possible, bit 0 of each word is a pixel
     * that starts a cache line. */
    uint32_t past = in_step ? (uint32_t)((uintptr_t)pixels % KM_CACHE_LINE) : 0, skip = past;
    uint32_t left = 0, right = narrow ? box.x + box.width : width;
    if (narrow && (box.x + past) % KM_CACHE_LINE <= box.x) {
        left = box.x - (box.x + past) % KM_CACHE_LINE;
        skip = 0;
    }
    if (past_caches) { /* rows without foreground are painted, too */
        box.y = 0;
        box.height = height;
    } else if (!narrow) {
        uint32_t bottom = box.y + box.height;
        clear(pixels, stride, box.y, width, in_l2);
        clear(pixels + (ptrdiff_t)bottom * stride, stride, height - bottom, width, in_l2);
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

/* A line of pixels is packed and searched block by block. With interleaved reading, a block is one
 * round of all streams. Otherwise the pixels and bits of a block fit the L1 cache. */
enum { STREAMS_BLOCK_PIXELS = KM_STREAMS * KM_STREAM_BYTES, L1_BLOCK_PIXELS = 16384 };

enum {
    CHANGES_WORDS = (sizeof(km_changes) + 7) / 8,
    TILE_WORDS = (sizeof(km_tile) + 7) / 8,
};

/* The result of the first step of encoding, at the start of the caller's scratch: the number of
 * words or tiles with changes, and whether the changes are dense. */
typedef struct {
    size_t n;
    bool dense;
} km_found;

enum { FOUND_WORDS = (sizeof(km_found) + 7) / 8 };

/* The scratch of rows: km_found; the words of the row above, followed by those of up to 64 rows (at
 * `bits`); the first tile of each 64 columns, or NULL; and the tiles. */
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

/* A tile takes an eighth of a byte for each of its 64 x 64 pixels, even if the image has fewer than
 * 64 rows. */
size_t km_scan_rows_scratch(uint32_t height, uint32_t width)
{
    size_t words = km_words(width);
    if (height == 0 || width == 0)
        return 1;
    return FOUND_WORDS + words * (1 + rows_of_tile(height)) + KM_VECTOR_WORDS + words +
           TILE_WORDS * words * km_words(height);
}

/* The scratch of columns: km_found; the last word of the block before; the words of a block; and
 * the list of words with changes, which starts here. */
static size_t listed_at(size_t words)
{
    size_t block = STREAMS_BLOCK_PIXELS / KM_WORD;
    return FOUND_WORDS + 1 + (words < block ? words : block) + KM_VECTOR_WORDS;
}

size_t km_scan_columns_scratch(uint32_t height, uint32_t width)
{
    size_t words = km_words((size_t)height * width);
    size_t items = words + KM_VECTOR_WORDS; /* list_line needs a multiple of KM_VECTOR_WORDS */
    return listed_at(words) + CHANGES_WORDS * items;
}

size_t km_scan_columns(const uint8_t *pixels, uint32_t height, uint32_t width, uint64_t *scratch)
{
    size_t n = (size_t)height * width, n_listed = 0;
    km_tally tally = {0, 0};
    uint64_t *bits = scratch + FOUND_WORDS + 1;
    km_changes *listed = (km_changes *)(scratch + listed_at(km_words(n)));
    /* Whether the last block ended with background: then more background is likely to follow. */
    bool skipping = true;
    size_t block = km_simd.interleave ? STREAMS_BLOCK_PIXELS : L1_BLOCK_PIXELS;
    bits[-1] = 0;
    for (size_t first = 0, some; first < n; first += some) {
        if (skipping)
            first += km_simd.skip_background(pixels + first, n - first);
        some = n - first < block ? n - first : block;
        size_t words = km_words(some);
        if (words == 0)
            break;
        /* A block of all streams is packed as one row a stream, so that pack_rows reads them in
         * turn. */
        size_t rows = some == STREAMS_BLOCK_PIXELS ? KM_STREAMS : 1;
        km_simd.pack_rows(pixels + first, (ptrdiff_t)(some / rows), rows, some / rows, bits);
        uint64_t *last = &bits[words - 1];
        unsigned tail = some % KM_WORD;
        if (tail > 0 && *last >> (tail - 1))
            *last |= ~UINT64_C(0) << tail; /* after foreground, a 0 would be a change */
        size_t found = km_simd.list_line(bits, words, (uint32_t)first, listed + n_listed, &tally);
        n_listed += found;
        bits[-1] = *last;
        size_t last_quarter = first + some / 4 * 3;
        skipping = *last == 0 && (found == 0 || listed[n_listed - 1].first < last_quarter);
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

/* Links the tiles of each 64 columns, from top to bottom. */
static void link_tiles(const km_scan *scan, size_t words)
{
    for (size_t word = 0; word < words; word++)
        scan->firsts[word] = NULL;
    for (size_t i = scan->found->n; i-- > 0;) {
        km_tile *tile = &scan->tiles[i], **first = &scan->firsts[tile->word];
        tile->next = *first;
        *first = tile;
    }
}

static bool is_background(const uint64_t *bits, size_t words)
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
    /* In column-major order, the last pixel of a column is followed by the first of the next
     * column. So the row above row 0 is the last row, moved by one column to the right. */
    uint64_t *above = scan.bits - words, carry = 0;
    km_simd.pack_rows(pixels + (ptrdiff_t)(height - 1) * stride, stride, 1, width, above);
    for (size_t i = 0; i < words; i++) {
        uint64_t word = above[i];
        above[i] = word << 1 | carry;
        carry = word >> (KM_WORD - 1);
    }
    if (width % KM_WORD)
        above[words - 1] &= km_range(0, width % KM_WORD);
    bool skipping = is_background(above, words); /* if the rows above are background */
    for (uint32_t row = 0, rows; row < height; row += rows) {
        const uint8_t *at = pixels + (ptrdiff_t)row * stride;
        if (skipping && stride == (ptrdiff_t)width) {
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
        skipping = found == 0 && is_background(above, words);
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
    km_changes listed[KM_LIST_WORDS];
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
                if (!dense) { /* writes at once: listing would take a tenth of the time */
                    runs = km_write_ends(changes, &end, runs);
                    continue;
                }
                listed[n_listed] = changes;
                n_listed += changes.bits != 0;
                if (n_listed == KM_LIST_WORDS) {
                    runs = km_write_runs(listed, n_listed, dense, &end, runs);
                    n_listed = 0;
                }
            }
        }
    }
    runs = km_write_runs(listed, n_listed, dense, &end, runs);
    *runs = height * width - end;
}
