"""Insertion: find the sites of a model, match rules to them, and put blocks there."""

from mmattn.insertion.attach_detach import attach, detach
from mmattn.insertion.attention import Attention
from mmattn.insertion.identity import IdentityReport, check_identity
from mmattn.insertion.log import brief_log
from mmattn.insertion.rule import Rule
from mmattn.insertion.site import Site
from mmattn.insertion.site_search import SiteTable, find_sites, sites
from mmattn.insertion.widths import set_widths, widths_of
from mmattn.insertion.with_attention import Pruned, WithAttention

__all__ = [
    'Attention',
    'IdentityReport',
    'Pruned',
    'Rule',
    'Site',
    'SiteTable',
    'WithAttention',
    'attach',
    'brief_log',
    'check_identity',
    'detach',
    'find_sites',
    'set_widths',
    'sites',
    'widths_of',
]
