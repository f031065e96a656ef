/* Boxes as masks, and masks on another grid: cropped, padded, shifted, flipped, resized. All are
 * computed from runs to canonical runs, without pixels, in time that grows with the number of runs
 * in and out. */
#include "klingmask.h"
#include "runs.h"

/* Where pieces of foreground are appended, in column-major order, with background between them. If
 * there are no runs to write to, the pieces are only counted. */
typedef struct {
    km_writer writer;
    uint32_t height;  /* of the image */
    uint64_t written; /* pixels so far */
    bool counting;
    uint64_t n_pieces;
} km_output;

static km_output output_start(uint32_t *runs, uint32_t height)
{
    km_writer writer = runs ? km_writer_start(runs) : (km_writer){NULL, 0};
    return (km_output){writer, height, 0, runs == NULL, 0};
}

/* Appends the pixels first to end - 1, in column-major order. */
static void append(km_output *output, uint64_t first, uint64_t end)
{
    km_write(&output->writer, 0, (uint32_t)(first - output->written));
    km_write(&output->writer, 1, (uint32_t)(end - first));
    output->written = end;
}

/* Appends the rows first to end - 1 of the columns left to right - 1. */
static void append_columns(km_output *output, uint64_t left, uint64_t right, uint64_t first,
                           uint64_t end)
{
    uint64_t height = output->height;
    if (left >= right || first >= end)
        return;
    bool whole = end - first == height;
    output->n_pieces += whole ? 1 : right - left;
    if (output->counting)
        return;
    if (whole)
        append(output, left * height, right * height);
    for (uint64_t x = left; !whole && x < right; x++)
        append(output, x * height + first, x * height + end);
}

/* Appends the background behind the last piece. Returns the number of runs. */
static size_t output_end(km_output *output, uint32_t width)
{
    km_write(&output->writer, 0, (uint32_t)((uint64_t)output->height * width - output->written));
    return output->writer.n;
}

/* The most runs: background and foreground for each piece, and background behind them. */
static uint64_t room_for(uint64_t n_pieces)
{
    return 2 * n_pieces + 1;
}

static uint64_t clamp(int64_t at, uint32_t end)
{
    return at < 0 ? 0 : at > (int64_t)end ? end : (uint64_t)at;
}

static void draw_box(km_box box, km_output *output)
{
    append_columns(output, box.x, (uint64_t)box.x + box.width, box.y, (uint64_t)box.y + box.height);
}

uint64_t km_box_capacity(km_box box, uint32_t height)
{
    km_output output = output_start(NULL, height);
    draw_box(box, &output);
    return room_for(output.n_pieces);
}

size_t km_box_runs(km_box box, uint32_t height, uint32_t width, uint32_t *runs)
{
    km_output output = output_start(runs, height);
    draw_box(box, &output);
    return output_end(&output, width);
}

static void shift(const km_mask *mask, int64_t x, int64_t y, uint32_t width, km_output *output)
{
    km_walk walk = km_walk_start(mask);
    km_piece piece;
    while (km_walk_on(&walk, &piece)) {
        int64_t left = (int64_t)piece.column - x;
        int64_t right = left + km_walk_whole_columns(&walk, &piece);
        if (left >= (int64_t)width)
            break;
        append_columns(output, clamp(left, width), clamp(right, width),
                       clamp((int64_t)piece.first - y, output->height),
                       clamp((int64_t)piece.end - y, output->height));
    }
}

uint64_t km_shift_capacity(const km_mask *mask, int64_t x, int64_t y, uint32_t height,
                           uint32_t width)
{
    if (mask->width < KM_FEW_COLUMNS)
        return room_for(mask->n_runs / 2 + (uint64_t)mask->width);
    km_output output = output_start(NULL, height);
    shift(mask, x, y, width, &output);
    return room_for(output.n_pieces);
}

size_t km_shift(const km_mask *mask, int64_t x, int64_t y, uint32_t height, uint32_t width,
                uint32_t *runs)
{
    km_output output = output_start(runs, height);
    shift(mask, x, y, width, &output);
    return output_end(&output, width);
}

size_t km_turn(const km_mask *mask, uint32_t *runs)
{
    km_writer writer = km_writer_start(runs);
    for (size_t i = mask->n_runs; i > 0; i--)
        km_write(&writer, (i - 1) & 1, mask->runs[i - 1]);
    return writer.n;
}

uint64_t km_flip_capacity(const km_mask *mask)
{
    return km_shift_capacity(mask, 0, 0, mask->height, mask->width);
}

/* The pieces of a column come from top to bottom and are appended from bottom to top. Until a
 * column is complete, its pieces (first row, end) are on a stack that grows down from the end of
 * the scratch. */
size_t km_flip_rows(const km_mask *mask, uint32_t *runs, uint32_t *scratch)
{
    uint32_t height = mask->height, column = 0, *top = scratch + mask->n_runs, *stack = top;
    km_output output = output_start(runs, height);
    km_walk walk = km_walk_start(mask);
    km_piece piece;
    for (;;) {
        bool more = km_walk_on(&walk, &piece);
        for (; stack < top && !(more && piece.column == column); stack += 2)
            append_columns(&output, column, (uint64_t)column + 1, stack[0], stack[1]);
        if (!more)
            return output_end(&output, mask->width);
        column = piece.column;
        uint32_t columns = km_walk_whole_columns(&walk, &piece);
        if (columns > 1) {
            append_columns(&output, column, (uint64_t)column + columns, 0, height);
            continue;
        }
        stack -= 2;
        stack[0] = height - piece.end;
        stack[1] = height - piece.first;
    }
}

/* If `from` rows (or columns) are resized to `to`, the first of these that shows row `at` or a
 * later one. */
static uint64_t first_showing(uint64_t at, uint32_t from, uint32_t to)
{
    return (at * to + from - 1) / from;
}

/* The pieces of a column are gathered in the scratch, without those that no row shows. */
static void resize(const km_mask *mask, uint32_t width, km_output *output, uint32_t *scratch)
{
    km_walk walk = km_walk_start(mask);
    km_piece piece;
    bool more = km_walk_on(&walk, &piece);
    while (more) {
        uint32_t column = piece.column;
        uint64_t x = first_showing(column, mask->width, width), end;
        size_t n = 0;
        do {
            uint64_t right = (uint64_t)column + km_walk_whole_columns(&walk, &piece);
            uint64_t top = first_showing(piece.first, mask->height, output->height);
            uint64_t bottom = first_showing(piece.end, mask->height, output->height);
            end = first_showing(right, mask->width, width);
            scratch[2 * n] = (uint32_t)top;
            scratch[2 * n + 1] = (uint32_t)bottom;
            n += top < bottom;
            more = km_walk_on(&walk, &piece);
        } while (more && piece.column == column);
        /* Several columns may show this one. They are appended at once if they have one piece, or
         * if pieces are only counted and need not be in order. */
        uint64_t at_once = n == 1 || output->counting ? end - x : 1;
        for (; n > 0 && x < end; x += at_once)
            for (size_t i = 0; i < n; i++)
                append_columns(output, x, x + at_once, scratch[2 * i], scratch[2 * i + 1]);
    }
}

uint64_t km_resize_capacity(const km_mask *mask, uint32_t height, uint32_t width, uint32_t *scratch)
{
    km_output output = output_start(NULL, height);
    resize(mask, width, &output, scratch);
    return room_for(output.n_pieces);
}

size_t km_resize(const km_mask *mask, uint32_t height, uint32_t width, uint32_t *runs,
                 uint32_t *scratch)
{
    km_output output = output_start(runs, height);
    resize(mask, width, &output, scratch);
    return output_end(&output, width);
}
