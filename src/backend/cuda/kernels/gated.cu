// The gated unit; x [rows, 2 inner] has the columns of the gate first.

template <class O, class X> KERNEL swiglu(O *out, const X *x, u64 inner, u64 count) {
  u64 i = element();
  if (i >= count) return;
  const X *row = x + i / inner * 2 * inner;
  float gate = row[i % inner], up = row[inner + i % inner];
  out[i] = gate * logistic(gate) * up;
}

// One thread for each element of dh.
template <class O, class X, class D> KERNEL swiglu_grad(O *out, const X *x, const D *dh, u64 inner, u64 count) {
  u64 i = element();
  if (i >= count) return;
  u64 start = i / inner * 2 * inner + i % inner;
  float gate = x[start], up = x[start + inner], s = logistic(gate);
  out[start] = dh[i] * up * s * (1.0f + gate * (1.0f - s));
  out[start + inner] = dh[i] * gate * s;
}
