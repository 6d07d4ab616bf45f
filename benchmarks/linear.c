/* The default update of Linear and plain gradient steps, as one would write them by hand: binary logistic loss, dense and
 * sparse rows. Double precision, as in retain. Built by the benchmarks with -O3 -march=native -ffast-math. */

#include <math.h>
#include <stdint.h>

typedef struct { double s, inverse, w, G; } cell;                /* one feature in 32 bytes, half a cache line */
typedef struct { double w, G, t, N; } rest;                      /* bias, weight of rows, sum of (x / s)^2 */

static inline double root(double z, double c) {                  /* x >= 0 with x + exp(z) (exp(x) - 1) = c */
    double e = exp(-fabs(z)), q = (z >= 0 ? 1 : e) / (1 + e), u = c * (z >= 0 ? e : 1) / (1 + e);
    if (u < 0.25) {
        double a = q / 2, b = q / 6, d = q / 24, f = q / 120;
        double c3 = 2 * a * a - b, c4 = 5 * a * a * a - 5 * a * b + d;
        double c5 = 14 * a * a * a * a - 21 * a * a * b + 6 * a * d + 3 * b * b - f;
        double x = u * (1 - u * (a - u * (c3 - u * (c4 - u * c5))));
        if (u < 0.01) return x;
        double t = 1 + x / 6 * (1 + x / 7 * (1 + x / 8 * (1 + x / 9)));
        double y = q * x * (1 + x / 2 * (1 + x / 3 * (1 + x / 4 * (1 + x / 5 * t))));
        return x - ((1 - q) * x + y - u) / (1 + y);
    }
    double log_q = fmin(z, 0) - log1p(e), x = fmin(u, log1p(u) - log_q);
    for (int i = 0; i < 60; i++) {
        double y = exp(x + log_q) - q, move = ((1 - q) * x + y - u) / (1 + y);
        x -= move;
        if (move <= 1e-14 * x) break;
    }
    return x;
}

static inline double answer(double m, double *out) {
    double e = exp(-fabs(m)), big = 1 / (1 + e), small = e / (1 + e);
    out[0] = m >= 0 ? small : big;
    out[1] = m >= 0 ? big : small;
    return out[1];
}

void adaptive_dense(const float *X, const int64_t *y, int64_t n, int64_t d, double *restrict w, double *restrict G,
                    double *restrict s, double *restrict inverse, double *restrict move, rest *b, double eta,
                    double *restrict out) {
    for (int64_t i = 0; i < n; i++) {
        const float *restrict x = X + i * d;
        int grown = 0;
        for (int64_t j = 0; j < d; j++) grown |= fabsf(x[j]) > s[j];
        if (grown)
            for (int64_t j = 0; j < d; j++) {
                double size = fabsf(x[j]);
                if (size > s[j]) { w[j] *= s[j] / size; s[j] = size; inverse[j] = 1 / size; }
            }
        double m = b->w, norm = 1, h = 0;
        for (int64_t j = 0; j < d; j++) m += w[j] * x[j];
        double p = answer(m, out + 2 * i);
        for (int64_t j = 0; j < d; j++) { double u = x[j] * inverse[j]; norm += u * u; }
        b->t += 1;
        b->N += norm;
        double share = sqrt(b->t / b->N), g = p - y[i], g2 = g * g;
        for (int64_t j = 0; j < d; j++) {
            double x2 = (double)x[j] * x[j];
            G[j] += g2 * x2;
            double rate = inverse[j] / sqrt(G[j]);
            move[j] = rate * x[j];
            h += rate * x2;
        }
        b->G += g2;
        double rate = 1 / sqrt(b->G);
        h = (h + rate) * share;
        double sign = y[i] ? 1 : -1, u = sign * root(sign * m, eta * h) / h * share;
        b->w += u * rate;
        for (int64_t j = 0; j < d; j++) w[j] += u * move[j];
    }
}

void adaptive_sparse(const int64_t *indptr, const int32_t *indices, const float *values, const int64_t *y, int64_t n,
                     cell *restrict cells, double *restrict move, rest *b, double eta, double *restrict out) {
    for (int64_t i = 0; i < n; i++) {
        int64_t start = indptr[i], stop = indptr[i + 1];
        double m = b->w, norm = 1, h = 0;
        for (int64_t e = start; e < stop; e++) {
            cell *c = cells + indices[e];
            double x = values[e], size = fabs(x);
            if (size > c->s) { c->w *= c->s / size; c->s = size; c->inverse = 1 / size; }
            m += c->w * x;
            norm += (x * c->inverse) * (x * c->inverse);
        }
        double p = answer(m, out + 2 * i);
        b->t += 1;
        b->N += norm;
        double share = sqrt(b->t / b->N), g = p - y[i], g2 = g * g;
        for (int64_t e = start; e < stop; e++) {
            cell *c = cells + indices[e];
            double x2 = (double)values[e] * values[e];
            c->G += g2 * x2;
            double rate = c->inverse / sqrt(c->G);
            move[e - start] = rate * values[e];
            h += rate * x2;
        }
        b->G += g2;
        double rate = 1 / sqrt(b->G);
        h = (h + rate) * share;
        double sign = y[i] ? 1 : -1, u = sign * root(sign * m, eta * h) / h * share;
        b->w += u * rate;
        for (int64_t e = start; e < stop; e++) cells[indices[e]].w += u * move[e - start];
    }
}

void plain_dense(const float *X, const int64_t *y, int64_t n, int64_t d, double *restrict w, rest *b, double rate,
                 double *restrict out) {
    for (int64_t i = 0; i < n; i++) {
        const float *restrict x = X + i * d;
        double m = b->w;
        for (int64_t j = 0; j < d; j++) m += w[j] * x[j];
        double u = rate * (y[i] - answer(m, out + 2 * i));
        b->w += u;
        for (int64_t j = 0; j < d; j++) w[j] += u * x[j];
    }
}

void plain_sparse(const int64_t *indptr, const int32_t *indices, const float *values, const int64_t *y, int64_t n,
                  double *restrict w, rest *b, double rate, double *restrict out) {
    for (int64_t i = 0; i < n; i++) {
        double m = b->w;
        for (int64_t e = indptr[i]; e < indptr[i + 1]; e++) m += w[indices[e]] * values[e];
        double u = rate * (y[i] - answer(m, out + 2 * i));
        b->w += u;
        for (int64_t e = indptr[i]; e < indptr[i + 1]; e++) w[indices[e]] += u * values[e];
    }
}
