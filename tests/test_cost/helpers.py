"""Rules for the tests of cost."""

RESIDUAL = dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.CBAM'))
