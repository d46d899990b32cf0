"""Compiled kernels: quaternion algebra, expansion of poses, helical shifts."""
