// The gated unit; x [rows, 2 inner] has the columns of the gate first. One thread for a few elements of the result that
// lie side by side in one row, or for as many one by one where rows are no multiple of that.

template <int COUNT, class O, class X>
static __device__ __forceinline__ void gate_pack(O *out, const X *x, u64 inner, u64 i) {
  u64 start = i / inner * 2 * inner + i % inner;
  Pack<X, COUNT> gate = load<COUNT>(x + start), up = load<COUNT>(x + start + inner);
  Pack<O, COUNT> result;
  for (int l = 0; l < COUNT; l++) result.at[l] = gate.at[l] * logistic(gate.at[l]) * up.at[l];
  save(out + i, result);
}

template <class O, class X> KERNEL swiglu(O *out, const X *x, u64 inner, u64 count) {
  u64 i = EACH_THREAD * element();
  if (i < count && inner % EACH_THREAD == 0)
    gate_pack<EACH_THREAD>(out, x, inner, i);
  else
    for (u64 end = i + EACH_THREAD; i < end && i < count; i++) gate_pack<1>(out, x, inner, i);
}

template <int COUNT, class O, class X, class D>
static __device__ __forceinline__ void gate_grad_pack(O *out, const X *x, const D *dh, u64 inner, u64 i) {
  u64 start = i / inner * 2 * inner + i % inner;
  Pack<X, COUNT> gate = load<COUNT>(x + start), up = load<COUNT>(x + start + inner);
  Pack<D, COUNT> change = load<COUNT>(dh + i);
  Pack<O, COUNT> dgate, dup;
  for (int l = 0; l < COUNT; l++) {
    float s = logistic(gate.at[l]);
    dgate.at[l] = change.at[l] * up.at[l] * s * (1.0f + gate.at[l] * (1.0f - s));
    dup.at[l] = change.at[l] * gate.at[l] * s;
  }
  save(out + start, dgate);
  save(out + start + inner, dup);
}

template <class O, class X, class D> KERNEL swiglu_grad(O *out, const X *x, const D *dh, u64 inner, u64 count) {
  u64 i = EACH_THREAD * element();
  if (i < count && inner % EACH_THREAD == 0)
    gate_grad_pack<EACH_THREAD>(out, x, dh, inner, i);
  else
    for (u64 end = i + EACH_THREAD; i < end && i < count; i++) gate_grad_pack<1>(out, x, dh, inner, i);
}
