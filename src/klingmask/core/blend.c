/* Blends masks over pixels in a colour: source-over, 8 bits a channel, without gamma.
 *
 * The mask's box becomes row-major bits, and pixels are read and written only where bits are set.
 * Layers are blended in groups whose bits take a few MiB. So memory does not grow with the number
 * of masks, and an image is read from memory once for each group. Masks of a few pixels far apart
 * are blended pixel by pixel: their boxes are large and nearly empty.
 */
#include "bits.h"
#include "klingmask.h"
#include "runs.h"
#include "simd/simd.h"

#include <string.h>

/* A layer that is ready to be blended. The bits of its box follow it in the scratch: those of the
 * inside, then those of the outline. */
typedef struct km_ready {
    const km_layer *layer;
    km_box box;
    size_t words; /* of a row of the box */
    uint64_t *inside, *line;
    km_tint tint, line_tint;
    struct km_ready *next; /* the layer on top of this one */
} km_ready;

enum {
    READY_WORDS = (sizeof(km_ready) + 7) / 8,
    /* A group has 2 MiB of bits: 16 masks of 1280 x 720. They stay in the L2 or L3 cache. */
    GROUP_WORDS = (2 << 20) / 8,
    /* A mask is blended pixel by pixel if its box has more words of bits than this for each pixel:
     * blending a pixel takes about as long as clearing, drawing and scanning 8 words. */
    WORDS_OF_A_PIXEL = 8
};

static size_t bitmap_words(km_box box)
{
    return box.height * km_words(box.width);
}

/* The scratch that a layer takes, and the scratch to prepare it: more if it has an outline. */
static size_t words_to_keep(const km_layer *layer, km_box box)
{
    return READY_WORDS + bitmap_words(box) * (layer->outline ? 2 : 1);
}

static size_t words_to_make(const km_layer *layer, km_box box)
{
    return READY_WORDS + bitmap_words(box) * (layer->outline ? 3 : 1);
}

size_t km_blend_scratch(const km_layer *layers, size_t n)
{
    size_t all = 0, largest = 0;
    for (size_t i = 0; i < n; i++) {
        km_box box = km_bounds(layers[i].mask);
        size_t make = words_to_make(&layers[i], box);
        largest = make > largest ? make : largest;
        if (all < GROUP_WORDS)
            all += words_to_keep(&layers[i], box);
    }
    all += largest;
    return all < GROUP_WORDS ? all : largest < GROUP_WORDS ? GROUP_WORDS : largest;
}

static void prepare_tint(km_tint *tint, const uint8_t *color, unsigned alpha, unsigned channels)
{
    tint->keep = (uint16_t)(255 - alpha);
    for (unsigned i = 0; i < KM_TINT_BYTES; i++) {
        tint->color[i] = color[i % channels];
        tint->added[i] = (uint16_t)(tint->color[i] * alpha + 128);
    }
}

/* Return word `word` of a row shifted by `by` pixels to the right (word_before) or to the left
 * (word_behind). Bits that come from outside the row are 0. */
static uint64_t word_before(const uint64_t *row, size_t word, uint32_t by)
{
    size_t whole = by / KM_WORD, bits = by % KM_WORD;
    uint64_t high = word >= whole ? row[word - whole] : 0;
    uint64_t low = bits > 0 && word > whole ? row[word - whole - 1] : 0;
    return bits > 0 ? high << bits | low >> (KM_WORD - bits) : high;
}

static uint64_t word_behind(const uint64_t *row, size_t word, size_t words, uint32_t by)
{
    size_t whole = by / KM_WORD, bits = by % KM_WORD;
    uint64_t low = whole < words - word ? row[word + whole] : 0;
    uint64_t high = bits > 0 && whole + 1 < words - word ? row[word + whole + 1] : 0;
    return bits > 0 ? low >> bits | high << (KM_WORD - bits) : low;
}

/* Keeps a set pixel if the pixels `by` above, below, left and right of it are set, too. Outside the
 * box no pixel is set. Returns whether any pixel is kept. */
static bool erode(const uint64_t *from, uint64_t *to, size_t rows, size_t words, uint32_t by)
{
    uint64_t any = 0;
    for (size_t y = 0; y < rows; y++)
        for (size_t i = 0; i < words; i++) {
            const uint64_t *row = from + y * words;
            uint64_t above = y >= by ? row[(ptrdiff_t)i - (ptrdiff_t)(by * words)] : 0;
            uint64_t below = by < rows - y ? row[i + by * words] : 0;
            uint64_t kept =
                row[i] & above & below & word_before(row, i, by) & word_behind(row, i, words, by);
            to[y * words + i] = kept;
            any |= kept;
        }
    return any != 0;
}

/* Splits off the outline: it gets the pixels within `width` of the edge, the inside keeps the
 * others. Distances are along rows and columns (Manhattan), so the pixels within n of a pixel are a
 * diamond. Eroding by a diamond of radius n and then by a step of m <= n erodes by a diamond of n +
 * m: each step may double the radius. */
static void split_line(km_ready *ready, uint32_t width, uint64_t *spare)
{
    size_t words = bitmap_words(ready->box);
    uint64_t *eroded = ready->line; /* holds the eroded bits until the outline is known */
    memcpy(eroded, ready->inside, words * sizeof *eroded);
    bool any = true;
    for (uint32_t done = 0; any && done < width;) {
        uint32_t by = done > 0 ? done : 1;
        by = by < width - done ? by : width - done;
        any = erode(eroded, spare, ready->box.height, ready->words, by);
        uint64_t *swap = eroded;
        eroded = spare;
        spare = swap;
        done += by;
    }
    for (size_t i = 0; i < words; i++) {
        uint64_t kept = eroded[i];
        ready->line[i] = ready->inside[i] & ~kept;
        ready->inside[i] = kept;
    }
}

static bool all_opaque(const uint8_t *pixels, size_t n)
{
    uint8_t alpha = 255;
    for (size_t i = 0; i < n; i++)
        alpha &= pixels[4 * i + 3];
    return alpha == 255;
}

/* Blends a pixel: source-over with straight alpha. The color has the weight alpha * 255, the pixel
 * below it its own alpha * (255 - alpha), in units of 1 / 255**2. Rounds to nearest, ties up.
 * `alpha` is not 0. */
static void blend_pixel(uint8_t *pixel, const uint8_t *color, unsigned alpha)
{
    uint32_t below = (uint32_t)pixel[3] * (255 - alpha), cover = alpha * 255u + below;
    for (unsigned i = 0; i < 3; i++)
        pixel[i] = (uint8_t)((color[i] * alpha * 255u + pixel[i] * below + cover / 2) / cover);
    pixel[3] = (uint8_t)((cover + 127) / 255);
}

static void blend_row(const uint64_t *bits, size_t words, size_t columns, const km_tint *tint,
                      const km_layer *layer, unsigned channels, uint8_t *pixels)
{
    /* An opaque tint, or any tint over opaque pixels, treats all channels alike, alpha too. */
    if (channels == 3 || tint->keep == 0 || all_opaque(pixels, columns)) {
        km_simd.blend(bits, words, channels, tint, pixels);
        return;
    }
    for (size_t i = 0; i < words; i++)
        for (uint64_t word = bits[i]; word; word &= word - 1)
            blend_pixel(pixels + 4 * (i * KM_WORD + km_lowest_one(word)), layer->color,
                        255u - tint->keep);
}

/* Draws the bits of a layer into the scratch, which has room for them. */
static km_ready *prepare(const km_layer *layer, km_box box, unsigned channels, uint64_t *scratch)
{
    km_ready *ready = (km_ready *)scratch;
    size_t words = bitmap_words(box);
    *ready = (km_ready){
        .layer = layer, .box = box, .words = km_words(box.width), .inside = scratch + READY_WORDS};
    prepare_tint(&ready->tint, layer->color, layer->opacity, channels);
    km_draw_bits(layer->mask, box, ready->inside);
    if (layer->outline) {
        ready->line = ready->inside + words;
        prepare_tint(&ready->line_tint, layer->color, 255, channels);
        split_line(ready, layer->outline, ready->line + words);
    }
    return ready;
}

static void lay_row(const km_ready *one, uint64_t y, unsigned channels, uint8_t *pixels,
                    ptrdiff_t stride)
{
    size_t row = (size_t)(y - one->box.y) * one->words, width = one->box.width;
    uint8_t *from = pixels + (ptrdiff_t)y * stride + (size_t)one->box.x * channels;
    if (one->tint.keep < 255)
        blend_row(one->inside + row, one->words, width, &one->tint, one->layer, channels, from);
    if (one->line)
        blend_row(one->line + row, one->words, width, &one->line_tint, one->layer, channels, from);
}

/* Lays the layers of a group one after the other: no row looks at layers that do not reach it. */
static bool lay_each(const km_ready *group, unsigned channels, uint8_t *pixels, ptrdiff_t stride,
                     km_watch *watch)
{
    for (const km_ready *one = group; one; one = one->next) {
        for (uint64_t y = one->box.y; y < (uint64_t)one->box.y + one->box.height; y++)
            lay_row(one, y, channels, pixels, stride);
        if (km_stopped(watch, (uint64_t)one->box.height * one->box.width))
            return false;
    }
    return true;
}

/* Blends the layers of a group row by row of the image: a row stays in the L1 cache for all layers.
 */
static bool lay_by_rows(const km_ready *group, unsigned channels, uint8_t *pixels, ptrdiff_t stride,
                        km_watch *watch)
{
    uint64_t top = UINT64_MAX, end = 0;
    for (const km_ready *one = group; one; one = one->next) {
        uint64_t bottom = (uint64_t)one->box.y + one->box.height;
        top = one->box.y < top ? one->box.y : top;
        end = bottom > end ? bottom : end;
    }
    for (uint64_t y = top; y < end; y++) {
        uint64_t work = 0;
        for (const km_ready *one = group; one; one = one->next) {
            work++;
            if (y < one->box.y || y - one->box.y >= one->box.height)
                continue;
            work += one->box.width;
            lay_row(one, y, channels, pixels, stride);
        }
        if (km_stopped(watch, work))
            return false;
    }
    return true;
}

/* Row by row, each row of the image asks all layers whether they reach it; so many at the most. */
enum { LAYERS_BY_ROWS = 64 };

static bool lay_group(const km_ready *group, unsigned channels, uint8_t *pixels, ptrdiff_t stride,
                      km_watch *watch)
{
    size_t n = 0;
    for (const km_ready *one = group; one; one = one->next)
        n++;
    return (n > LAYERS_BY_ROWS ? lay_each : lay_by_rows)(group, channels, pixels, stride, watch);
}

/* Whether a mask is so small that all its pixels belong to the outline. A pixel that does not needs
 * 2 * width * (width + 1) + 1 pixels of foreground: those within `width` of it. */
static bool is_all_line(uint64_t area, uint64_t width)
{
    return width > 0 && (area + 1) / 2 <= width * (width + 1);
}

/* Blends a mask pixel by pixel, without bits. */
static void lay_pixels(const km_layer *layer, unsigned alpha, unsigned channels, uint8_t *pixels,
                       ptrdiff_t stride)
{
    const uint64_t one = 1;
    km_tint tint;
    km_walk walk = km_walk_start(layer->mask);
    km_piece piece;
    prepare_tint(&tint, layer->color, alpha, channels);
    while (alpha > 0 && km_walk_on(&walk, &piece))
        for (uint32_t y = piece.first; y < piece.end; y++)
            blend_row(&one, 1, 1, &tint, layer, channels,
                      pixels + (ptrdiff_t)y * stride + (size_t)piece.column * channels);
}

bool km_blend(const km_layer *layers, size_t n, unsigned channels, uint8_t *pixels,
              ptrdiff_t stride, uint64_t *scratch, size_t words, km_watch *watch)
{
    km_ready *group = NULL, **last = &group;
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        const km_layer *layer = &layers[i];
        km_box box = km_bounds(layer->mask);
        uint64_t area = km_area(layer->mask);
        bool all_line = is_all_line(area, layer->outline);
        bool sparse =
            (all_line || layer->outline == 0) && area < bitmap_words(box) / WORDS_OF_A_PIXEL;
        if (area == 0)
            continue;
        if (group && (sparse || words_to_make(layer, box) > words - used)) {
            if (!lay_group(group, channels, pixels, stride, watch))
                return false;
            group = NULL;
            last = &group;
            used = 0;
        }
        if (sparse) {
            lay_pixels(layer, all_line ? 255 : layer->opacity, channels, pixels, stride);
        } else {
            *last = prepare(layer, box, channels, scratch + used);
            last = &(*last)->next;
            used += words_to_keep(layer, box);
        }
        if (km_stopped(watch, layer->mask->n_runs + (sparse ? area : bitmap_words(box))))
            return false;
    }
    return lay_group(group, channels, pixels, stride, watch);
}

size_t km_render_scratch(const km_mask *mask)
{
    return bitmap_words(km_bounds(mask));
}

/* Writes every byte once. Few pictures fit the L2 cache, so `in_l2` of `clear` is always false. */
void km_render(const km_mask *mask, const uint8_t color[4], uint8_t *pixels, uint64_t *scratch)
{
    km_box box = km_bounds(mask);
    size_t words = km_words(box.width), stride = (size_t)mask->width * 4;
    size_t left = (size_t)box.x * 4, right = stride - left - (size_t)box.width * 4;
    size_t above = box.y * stride, below = (mask->height - box.y - box.height) * stride;
    km_draw_bits(mask, box, scratch);
    if (above > 0)
        km_simd.clear(pixels, above, false);
    pixels += above;
    for (uint32_t y = 0; y < box.height; y++, pixels += stride) {
        memset(pixels, 0, left);
        km_simd.stamp(scratch + y * words, box.width, color, pixels + left);
        memset(pixels + stride - right, 0, right);
    }
    if (below > 0)
        km_simd.clear(pixels, below, false);
}
