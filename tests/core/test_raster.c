/* Masks decoded to pixels, and encoded from them, in both memory orders. */
#include "harness.h"

enum { UNTOUCHED = 7 };

static void check_decoding_columns(const sample *s, uint8_t value)
{
    size_t n = (size_t)km_pixels(&s->mask), offset = below(64);
    uint8_t *block = room(offset + n, 1), *pixels = block ? block + offset : NULL;
    for (unsigned way = 0; way < 2 * 3; way++) {
        bool cleared = way & 1;
        if (n > 0)
            memset(pixels, cleared ? 0 : UNTOUCHED, n);
        km_decode_columns(&s->mask, value, cleared, (km_destination)(way / 2), pixels);
        for (size_t i = 0; i < n; i++)
            CHECK(pixels[i] == (s->pixels[i] ? value : 0));
    }
    free(block);
}

/* Rows in memory: `n` bytes, `offset` bytes behind the start of the block. */
typedef struct {
    uint8_t *block, *pixels;
    size_t stride, n;
} row_memory;

/* Rows of which all start alike within cache lines, or not. */
static row_memory random_rows(uint32_t height, uint32_t width)
{
    row_memory rows;
    rows.stride = below(2) ? width : below(2) ? width + 1 + below(2) : (width + 63) / 64 * 64;
    rows.n = height ? (height - 1) * rows.stride + width : 0;
    size_t offset = below(64);
    rows.block = room(offset + rows.n, 1);
    rows.pixels = rows.block ? rows.block + offset : NULL;
    return rows;
}

/* Leaves the mask in the rows. */
static void check_decoding_rows(const sample *s, uint8_t value, const row_memory *rows)
{
    uint32_t height = s->mask.height, width = s->mask.width;
    uint64_t *scratch = room(km_decode_rows_scratch(height, width), sizeof *scratch);
    for (unsigned way = 0; way < 2 * 3; way++) {
        bool cleared = way & 1;
        uint8_t before = cleared ? 0 : UNTOUCHED;
        if (rows->n)
            memset(rows->pixels, before, rows->n);
        km_decode_rows(&s->mask, value, cleared, (km_destination)(way / 2), rows->pixels,
                       (ptrdiff_t)rows->stride, scratch);
        for (size_t i = 0; i < rows->n; i++) {
            size_t x = i % rows->stride, y = i / rows->stride;
            CHECK(rows->pixels[i] == (x >= width ? before : s->pixels[x * height + y] ? value : 0));
        }
    }
    free(scratch);
}

static void check_encoding_rows(const sample *s, const row_memory *rows)
{
    uint32_t height = s->mask.height, width = s->mask.width;
    uint64_t *scratch = room(km_scan_rows_scratch(height, width), sizeof *scratch);
    size_t found = km_scan_rows(rows->pixels, (ptrdiff_t)rows->stride, height, width, scratch);
    uint32_t *runs = room(found, sizeof *runs);
    km_runs_rows(scratch, height, width, runs);
    check_runs(runs, found, &s->mask);
    free(runs);
    free(scratch);
}

static void check_encoding_columns(const sample *s)
{
    uint32_t height = s->mask.height, width = s->mask.width;
    uint64_t *scratch = room(km_scan_columns_scratch(height, width), sizeof *scratch);
    size_t found = km_scan_columns(s->pixels, height, width, scratch);
    uint32_t *runs = room(found, sizeof *runs);
    km_runs_columns(scratch, height, width, runs);
    check_runs(runs, found, &s->mask);
    free(runs);
    free(scratch);
}

void check_raster(const sample *s)
{
    uint8_t value = (uint8_t)(1 + below(255));
    row_memory rows = random_rows(s->mask.height, s->mask.width);
    check_decoding_columns(s, value);
    check_decoding_rows(s, value, &rows);
    check_encoding_rows(s, &rows);
    check_encoding_columns(s);
    free(rows.block);
}

/* Foreground that starts or ends where a block ends that encoding looks at, or next to it, in
 * either memory order. */
void check_borders_of_blocks(void)
{
    enum { HEIGHT = 1024, WIDTH = 150, PIXELS = HEIGHT * WIDTH };
    static const size_t borders[] = {1024, 16384, 32768, 65536, 81920, 131072};
    for (unsigned i = 0; i < 6 * 3 * 2 * 2; i++) {
        size_t border = borders[i / 12] + i / 4 % 3 - 1;
        bool along_rows = i & 1, starts = i & 2;
        sample s = {{NULL, 0, HEIGHT, WIDTH}, room(PIXELS + 1, sizeof(uint32_t)), room(PIXELS, 1)};
        for (size_t j = 0; j < PIXELS; j++) {
            size_t place = along_rows ? j % HEIGHT * WIDTH + j / HEIGHT : j;
            s.pixels[j] = (place < border) != starts;
        }
        find_runs(&s);
        check_raster(&s);
        discard(&s);
    }
}
