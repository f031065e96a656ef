/* Layers over pictures, and masks as pictures, against a formula for each pixel. */
#include "harness.h"

enum { LAYERS = 4 };

/* A picture of 3 or 4 channels, what it is expected to become, and the layers: even ones show the
 * first sample, odd ones the second. */
typedef struct {
    const sample *samples[2];
    unsigned channels;
    size_t stride, n; /* bytes of a row, and of the picture */
    uint8_t *image, *expected;
    km_layer layers[LAYERS];
} test_scene;

static km_layer random_layer(const km_mask *mask)
{
    km_layer layer = {mask, {0, 0, 0, 255}, 0, below(4) ? 0 : 1 + below(9)};
    if (below(50) == 0)
        layer.outline = 1 + below(150); /* wider than a word of bits, or than the mask */
    for (unsigned i = 0; i < 3; i++)
        layer.color[i] = (uint8_t)below(256);
    layer.opacity = (uint8_t)(below(4) ? below(256) : 255);
    return layer;
}

static test_scene random_scene(const sample *a, const sample *b)
{
    uint32_t height = a->mask.height, width = a->mask.width;
    test_scene s = {.samples = {a, b}, .channels = 3 + below(2)};
    s.stride = (size_t)width * s.channels + below(5);
    s.n = height ? (height - 1) * s.stride + (size_t)width * s.channels : 0;
    s.image = room(s.n, 1);
    s.expected = room(s.n, 1);
    bool opaque = below(2);
    for (size_t i = 0; i < s.n; i++)
        s.image[i] = (uint8_t)(opaque && i % s.stride % 4 == 3 ? 255 : below(256));
    if (s.n)
        memcpy(s.expected, s.image, s.n);
    for (unsigned i = 0; i < LAYERS; i++)
        s.layers[i] = random_layer(&s.samples[i % 2]->mask);
    return s;
}

/* Whether all pixels within so many steps along rows and columns are foreground. */
static bool is_inside(const sample *s, uint32_t x, uint32_t y, uint32_t steps)
{
    int64_t reach = steps;
    for (int64_t dx = -reach; dx <= reach; dx++)
        for (int64_t dy = -reach; dy <= reach; dy++)
            if ((dx < 0 ? -dx : dx) + (dy < 0 ? -dy : dy) <= reach && !pixel_of(s, x + dx, y + dy))
                return false;
    return true;
}

/* Source-over with straight alpha. */
static void blend_pixel(uint8_t *pixel, unsigned channels, const uint8_t *color, unsigned alpha)
{
    double a = alpha / 255.0, under = channels == 4 ? pixel[3] / 255.0 : 1,
           cover = a + under * (1 - a);
    for (unsigned i = 0; i < 3 && alpha > 0; i++) {
        double mixed = (color[i] * a + pixel[i] * under * (1 - a)) / cover;
        pixel[i] = (uint8_t)(mixed + 0.5 + 1e-9);
    }
    if (channels == 4)
        pixel[3] = (uint8_t)(cover * 255 + 0.5 + 1e-9);
}

static void blend_layer(test_scene *scene, unsigned i)
{
    const sample *s = scene->samples[i % 2];
    const km_layer *layer = &scene->layers[i];
    for (uint32_t y = 0; y < s->mask.height; y++)
        for (uint32_t x = 0; x < s->mask.width; x++) {
            if (!pixel_of(s, x, y))
                continue;
            bool outline = layer->outline && !is_inside(s, x, y, layer->outline);
            blend_pixel(scene->expected + y * scene->stride + (size_t)x * scene->channels,
                        scene->channels, layer->color, outline ? 255 : layer->opacity);
        }
}

/* More words than the layer that takes most: its header, and three times the bits of its box. With
 * so many, layers are laid in groups. */
static size_t words_for_one_layer(const test_scene *s)
{
    size_t most = 0;
    for (unsigned i = 0; i < LAYERS; i++) {
        km_box box = km_bounds(s->layers[i].mask);
        size_t words = 256 + 3 * (size_t)box.height * km_words(box.width);
        most = words > most ? words : most;
    }
    return most;
}

void check_blend(const sample *a, const sample *b)
{
    test_scene s = random_scene(a, b);
    for (unsigned i = 0; i < LAYERS; i++)
        blend_layer(&s, i);
    size_t words = below(2) ? km_blend_scratch(s.layers, LAYERS) : words_for_one_layer(&s);
    uint64_t *scratch = room(words, sizeof *scratch);
    CHECK(
        km_blend(s.layers, LAYERS, s.channels, s.image, (ptrdiff_t)s.stride, scratch, words, NULL));
    CHECK(s.n == 0 || memcmp(s.image, s.expected, s.n) == 0);
    free(scratch);
    free(s.expected);
    free(s.image);
}

void check_render(const sample *s)
{
    uint32_t height = s->mask.height, width = s->mask.width;
    size_t n = (size_t)height * width * 4;
    uint8_t *image = room(n, 1), color[4] = {1, 2, 3, (uint8_t)below(256)};
    uint64_t *scratch = room(km_render_scratch(&s->mask), sizeof *scratch);
    if (n)
        memset(image, 7, n);
    km_render(&s->mask, color, image, scratch);
    for (size_t i = 0; i < n; i++) {
        int64_t x = (int64_t)(i / 4 % width), y = (int64_t)(i / 4 / width);
        CHECK(image[i] == (pixel_of(s, x, y) ? color[i % 4] : 0));
    }
    free(scratch);
    free(image);
}
