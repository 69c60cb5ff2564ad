"""A node that runs pods as local processes: for laptops and tests, beside the embedded API server or a real control plane."""
