# pretrained_start.py with CBAM in the neck: does a fresh block hurt there, how long, and does the identity
# start mend it? The neck itself has no pretrained weights.
#   export MMATTN_PRETRAINED=mobilenet_v2_in1k.pth
#   python tools/study.py run configs/studies/pretrained_start_neck.py --data-root FOLDER
_base_ = './pretrained_start.py'

controls = ['plain', dict(type='capacity', of='cbam_identity')]

sites = 'neck.output'
variants = dict(
    _delete_=True,
    cbam_paper=dict(insert=[dict(at=sites, block=dict(type='mmattn.CBAM', start='paper'))]),
    cbam_identity=dict(insert=[dict(at=sites, block=dict(type='mmattn.CBAM', start='identity'))]),
)
