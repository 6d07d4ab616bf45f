/* One net of OnlineMLP as one would write it by hand: one hidden layer, one number, answers at depths 0 and 1, inputs and
 * target in deviations from running means, the two answers mixed by exponential weights. Plain steps, or RMSprop's with a
 * memory of 100 rows. Built by the benchmark with -O3 -march=native -ffast-math. */

#include <math.h>
#include <stdint.h>

typedef struct {
    float *w, *v;                            /* (D, H) inputs to hidden, and its squared slopes; row 0 is the bias */
    float *line, *vline;                     /* (D) */
    float *head, *vhead;                     /* (H + 1) */
    float *z, *h, *delta;                    /* (D), (H + 1), (H) */
    double *count, *mean, *squares, *inverse; /* (d) */
    double target[5], scale[2], trust[2];    /* weight, mean, squares, least, largest */
} net;

static inline void step(float *restrict w, float *restrict v, const float *restrict s, float factor, int64_t n, float rate,
                        int plain) {
    if (plain) {
        float move = rate * factor;
        for (int64_t u = 0; u < n; u++) w[u] -= move * s[u];
    } else
        for (int64_t u = 0; u < n; u++) {
            float g = factor * s[u], q = .99f * v[u] + .01f * (g * g + 1e-16f);
            v[u] = q;
            w[u] -= rate * g / sqrtf(q);
        }
}

void learn(const float *X, const double *y, int64_t n, int64_t d, int64_t H, net *p, double rate, int plain, double *out) {
    double *T = p->target;
    p->z[0] = p->h[H] = 1;
    for (int64_t i = 0; i < n; i++) {
        const float *restrict x = X + i * d;
        float *restrict z = p->z, *restrict h = p->h, *restrict delta = p->delta;
        for (int64_t j = 0; j < d; j++) {
            double s = (x[j] - p->mean[j]) * p->inverse[j];
            z[j + 1] = fmin(fmax(s, -8), 8);
        }
        for (int64_t u = 0; u < H; u++) h[u] = 0;
        for (int64_t j = 0; j <= d; j++) {
            const float *restrict w = p->w + j * H;
            for (int64_t u = 0; u < H; u++) h[u] += z[j] * w[u];
        }
        for (int64_t u = 0; u < H; u++) h[u] = fmaxf(h[u], .01f * h[u]);
        float f[2] = {0, 0};
        for (int64_t j = 0; j <= d; j++) f[0] += p->line[j] * z[j];
        for (int64_t u = 0; u <= H; u++) f[1] += p->head[u] * h[u];
        double unit = T[2] > 0 ? sqrt(T[2] / T[0]) : 1, said = 0, vote[2];
        for (int e = 0; e < 2; e++) {
            vote[e] = T[3] > T[4] ? 0 : fmin(fmax(T[1] + unit * f[e], 2 * T[3] - T[4]), 2 * T[4] - T[3]);
            said += p->trust[e] * vote[e];
        }
        out[i] = said;
        p->scale[0] += (y[i] - said) * (y[i] - said);
        p->scale[1] += 1;
        double loss[2], total = 0, each = p->scale[0] > 0 ? p->scale[1] / (2 * p->scale[0]) : 1;
        for (int e = 0; e < 2; e++) loss[e] = (y[i] - vote[e]) * (y[i] - vote[e]) * each;
        for (int e = 0; e < 2; e++) total += p->trust[e] *= exp(fmin(loss[0], loss[1]) - loss[e]);
        for (int e = 0; e < 2; e++) p->trust[e] = .99 / total * p->trust[e] + .005;
        double away = y[i] - T[1], before = T[0]++;
        double kept = fmin(10000 / T[0], 1);
        T[1] += away / T[0];
        T[2] = (T[2] + away * away * before / T[0]) * kept;
        T[0] *= kept;
        T[3] = fmin(T[3], y[i]);
        T[4] = fmax(T[4], y[i]);
        unit = T[2] > 0 ? sqrt(T[2] / T[0]) : 1;
        float g[2];
        for (int e = 0; e < 2; e++) g[e] = fmin(fmax(f[e] - (y[i] - T[1]) / unit, -4), 4);
        for (int64_t u = 0; u < H; u++) delta[u] = g[1] * p->head[u] * (h[u] > 0 ? 1 : .01f);
        step(p->line, p->vline, z, g[0], d + 1, rate, plain);
        step(p->head, p->vhead, h, g[1], H + 1, rate, plain);
        for (int64_t j = 0; j <= d; j++) step(p->w + j * H, p->v + j * H, delta, z[j], H, rate, plain);
        for (int64_t j = 0; j < d; j++) {
            double count = p->count[j] + 1, left = fmin(10000 / count, 1), gone = x[j] - p->mean[j];
            p->mean[j] += gone / count;
            p->squares[j] = (p->squares[j] + gone * gone * p->count[j] / count) * left;
            p->count[j] = count * left;
            p->inverse[j] = p->squares[j] > 0 ? sqrt(p->count[j] / p->squares[j]) : 0;
        }
    }
}
