/* Boxes as masks, and masks on another grid: cropped, padded, shifted, flipped, resized. All are
 * computed from runs to canonical runs, without pixels, in time that grows with the number of runs
 * in and out. */
#include "klingmask.h"
#include "runs.h"

#include <string.h>

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
    return at<0 ? 0 : at>(int64_t) end ? end : (uint64_t)at;
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

static uint64_t frame_capacity(const km_mask *mask, int64_t x, int64_t y, uint32_t height,
                               uint32_t width)
{
    if (mask->width < KM_COUNT_FROM_COLUMNS)
        return room_for(mask->n_runs / 2 + (uint64_t)mask->width);
    km_output output = output_start(NULL, height);
    shift(mask, x, y, width, &output);
    return room_for(output.n_pieces);
}

static size_t frame(const km_mask *mask, int64_t x, int64_t y, uint32_t height, uint32_t width,
                    uint32_t *runs)
{
    km_output output = output_start(runs, height);
    shift(mask, x, y, width, &output);
    return output_end(&output, width);
}

/* Turns a mask by 180 degrees, in its place; there is room for one run more. */
static size_t turn(uint32_t *runs, size_t n)
{
    for (size_t i = 0, j = n - 1; i < j; i++, j--) {
        uint32_t swap = runs[i];
        runs[i] = runs[j];
        runs[j] = swap;
    }
    if (n % 2 == 0) { /* the last run was foreground: no background comes first */
        memmove(runs + 1, runs, n * sizeof *runs);
        runs[0] = 0;
        n++;
    }
    return n > 1 && runs[n - 1] == 0 ? n - 1 : n;
}

/* The pieces of a column come from top to bottom and are appended from bottom to top. Until a
 * column is complete, its pieces (first row, end) are on a stack that grows down from the end of
 * the scratch. */
static size_t flip_rows(const km_mask *mask, uint32_t *runs, uint32_t *scratch)
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
 * later one. Row y of the result shows the row in which its top edge lies, y * from / to rounded
 * down, or its centre, (2 * y + 1) * from / (2 * to) rounded down; solved for y without overflow.
 */
static uint64_t first_showing(uint64_t at, uint32_t from, uint32_t to, bool centers)
{
    return (at * to + (centers ? (from - 1) / 2 : from - 1)) / from;
}

/* The pieces of a column are gathered in the scratch, without those that no row shows. */
static void resize(const km_mask *mask, uint32_t width, bool centers, km_output *output,
                   uint32_t *scratch)
{
    km_walk walk = km_walk_start(mask);
    km_piece piece;
    bool more = km_walk_on(&walk, &piece);
    while (more) {
        uint32_t column = piece.column;
        uint64_t x = first_showing(column, mask->width, width, centers), end;
        size_t n = 0;
        do {
            uint64_t right = (uint64_t)column + km_walk_whole_columns(&walk, &piece);
            uint64_t top = first_showing(piece.first, mask->height, output->height, centers);
            uint64_t bottom = first_showing(piece.end, mask->height, output->height, centers);
            end = first_showing(right, mask->width, width, centers);
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

bool km_transform_size(const km_transform *transform, const km_mask *mask, uint32_t *height,
                       uint32_t *width)
{
    bool own = transform->kind != KM_FRAME && transform->kind != KM_RESIZE;
    bool added = own || transform->added;
    int64_t high = (own ? 0 : transform->height) + (added ? (int64_t)mask->height : 0);
    int64_t wide = (own ? 0 : transform->width) + (added ? (int64_t)mask->width : 0);
    if (high < 0 || wide < 0 || high > UINT32_MAX || wide > UINT32_MAX ||
        (uint64_t)high * (uint64_t)wide > KM_MAX_PIXELS)
        return false;
    *height = (uint32_t)high;
    *width = (uint32_t)wide;
    return true;
}

uint64_t km_transform_capacity(const km_transform *transform, const km_mask *mask,
                               uint32_t *scratch)
{
    uint32_t height = mask->height, width = mask->width;
    km_transform_size(transform, mask, &height, &width);
    km_output output = output_start(NULL, height);
    switch (transform->kind) {
    case KM_FRAME:
        return frame_capacity(mask, transform->x, transform->y, height, width);
    case KM_FLIP_ROWS:
        return frame_capacity(mask, 0, 0, height, width);
    case KM_FLIP_COLUMNS:
        return frame_capacity(mask, 0, 0, height, width) + 1;
    case KM_RESIZE:
        resize(mask, width, transform->centers, &output, scratch);
        return room_for(output.n_pieces);
    case KM_COMPLEMENT:
        break;
    }
    return (uint64_t)mask->n_runs + 1;
}

size_t km_transform_mask(const km_transform *transform, const km_mask *mask, uint32_t *runs,
                         uint32_t *scratch)
{
    uint32_t height = mask->height, width = mask->width;
    km_transform_size(transform, mask, &height, &width);
    km_output output = output_start(runs, height);
    switch (transform->kind) {
    case KM_FRAME:
        return frame(mask, transform->x, transform->y, height, width, runs);
    case KM_FLIP_ROWS:
        return flip_rows(mask, runs, scratch);
    case KM_FLIP_COLUMNS:
        return turn(runs, flip_rows(mask, runs, scratch));
    case KM_RESIZE:
        resize(mask, width, transform->centers, &output, scratch);
        return output_end(&output, width);
    case KM_COMPLEMENT:
        break;
    }
    return km_complement(mask, runs);
}
