/* Masks on another grid: cropped, padded, shifted, flipped, resized. Runs in,
 * canonical runs out, no pixel touched. */
#include "klingmask.h"
#include "runs.h"

#include <string.h>

/* Pieces are appended in order; what is between them is background. */
typedef struct {
    km_writer writer;
    uint64_t written; /* pixels so far */
} km_output;

static km_output output_start(uint32_t *runs)
{
    return (km_output){km_writer_start(runs), 0};
}

static void append(km_output *output, uint64_t first, uint64_t end)
{
    km_write(&output->writer, 0, (uint32_t)(first - output->written));
    km_write(&output->writer, 1, (uint32_t)(end - first));
    output->written = end;
}

static size_t output_end(km_output *output, uint64_t pixels)
{
    km_write(&output->writer, 0, (uint32_t)(pixels - output->written));
    return output->writer.n;
}

size_t km_shift_capacity(const km_mask *mask)
{
    /* Two runs for each piece: a run of foreground, cut where columns end. */
    return 2 * (mask->n_runs / 2 + (size_t)mask->width) + 2;
}

static uint64_t clamp(int64_t row, uint32_t height)
{
    return row<0 ? 0 : row>(int64_t) height ? height : (uint64_t)row;
}

size_t km_shift(const km_mask *mask, int64_t x, int64_t y, uint32_t height, uint32_t width,
                uint32_t *runs)
{
    km_output output = output_start(runs);
    km_walk walk = km_walk_start(mask);
    km_piece piece;
    while (km_walk_on(&walk, &piece)) {
        int64_t column = (int64_t)piece.column - x;
        if (column >= (int64_t)width)
            break;
        uint64_t first = clamp((int64_t)piece.first - y, height);
        uint64_t end = clamp((int64_t)piece.end - y, height);
        uint64_t start = (uint64_t)column * height;
        if (column >= 0 && first < end)
            append(&output, start + first, start + end);
    }
    return output_end(&output, (uint64_t)height * width);
}

size_t km_turn(const km_mask *mask, uint32_t *runs)
{
    km_writer writer = km_writer_start(runs);
    for (size_t i = mask->n_runs; i > 0; i--)
        km_write(&writer, (i - 1) & 1, mask->runs[i - 1]);
    return writer.n;
}

/* The pieces of a column come from top to bottom and leave from bottom to top: its
 * first rows and ends wait at the end of `runs`, which is not yet written to. */
size_t km_flip_rows(const km_mask *mask, uint32_t *runs)
{
    km_output output = output_start(runs);
    km_walk walk = km_walk_start(mask);
    km_piece piece, held = {0, 0, 0};
    uint32_t height = mask->height, *top = runs + km_shift_capacity(mask), *stack = top;
    bool more = km_walk_on(&walk, &piece);
    while (more) {
        held = piece;
        while (more && piece.column == held.column) {
            *--stack = height - piece.end;
            *--stack = height - piece.first;
            more = km_walk_on(&walk, &piece);
        }
        uint64_t start = (uint64_t)held.column * height;
        for (; stack < top; stack += 2)
            append(&output, start + stack[1], start + stack[0]);
    }
    return output_end(&output, (uint64_t)height * mask->width);
}

/* Of `to` places spread over `from`, the first that shows place `at` or a later one. */
static uint64_t first_showing(uint64_t at, uint32_t from, uint32_t to)
{
    return (at * to + from - 1) / from;
}

/* Walks through the result's pieces and counts them; writes them if there is where. */
static size_t resize(const km_mask *mask, uint32_t height, uint32_t width, km_output *output)
{
    size_t n_pieces = 0;
    km_walk walk = km_walk_start(mask), column_start = walk;
    km_piece piece;
    bool more = km_walk_on(&walk, &piece);
    while (more) {
        uint32_t column = piece.column;
        uint64_t first = first_showing(column, mask->width, width);
        uint64_t end = first_showing((uint64_t)column + 1, mask->width, width);
        km_walk after = walk;
        for (uint64_t x = first; x < end || x == first; x++) {
            after = column_start;
            while ((more = km_walk_on(&after, &piece)) && piece.column == column) {
                uint64_t top = first_showing(piece.first, mask->height, height);
                uint64_t bottom = first_showing(piece.end, mask->height, height);
                if (x < end && top < bottom) {
                    n_pieces++;
                    if (output)
                        append(output, x * height + top, x * height + bottom);
                }
                walk = after;
            }
        }
        column_start = walk;
        walk = after;
    }
    return n_pieces;
}

size_t km_resize_capacity(const km_mask *mask, uint32_t height, uint32_t width)
{
    return 2 * resize(mask, height, width, NULL) + 2;
}

size_t km_resize(const km_mask *mask, uint32_t height, uint32_t width, uint32_t *runs)
{
    km_output output = output_start(runs);
    resize(mask, height, width, &output);
    return output_end(&output, (uint64_t)height * width);
}
