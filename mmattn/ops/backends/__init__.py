"""The backends that compute ops: aten, cpu and triton, each of which satisfies base.Backend."""
