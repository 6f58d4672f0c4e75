"""CEL, the Common Expression Language, over one link: the expressions by which a LinkAliasConfig selects links.

    link.driver == "virtio_net" && glob("00:1a:2b:*", mac(link.permanent_addr)) && link.mtu > 1499u

The language is the whole of CEL's standard but for making messages, extensions of texts, and optional values. It is
strongly typed: `link.mtu` is a uint and `1500` an int, so that `link.mtu == 1500` is refused, as by the originals, and
`link.mtu == 1500u` is right. Expressions are type-checked when they are parsed, with the position of each mistake.

`tokens` reads characters, `parser` checks the grammar and the types, and makes closures, nested as the expression is;
`values` are the types and what stands for their values, `functions` the operators and functions by the types of their
arguments, `link` the fields of a link.
"""

from nodespan.controllers.common.cel.errors import ExpressionError
from nodespan.controllers.common.cel.parser import Expression, parse

__all__ = ["Expression", "ExpressionError", "parse"]
