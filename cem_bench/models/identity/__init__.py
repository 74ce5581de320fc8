"""What decides the numbers of a network, walked over and named part by part.

A walk starts at a module, a function or any other callable and follows whatever can change what it computes: attributes
of every type, buffers saved or not, hooks, closures, defaults, bound objects, the globals that its code names, and the
classes behind all of them. What comes from an installed library enters by the library's name and version. The same
object gives the same digests in every process; device, gradients and backward hooks are left out.
"""

from cem_bench.models.identity.computation import Computation, computation
from cem_bench.models.identity.libraries import UnseenError

__all__ = ["Computation", "UnseenError", "computation"]
