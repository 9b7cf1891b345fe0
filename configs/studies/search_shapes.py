# Which attention, where, and with which learning rate, on the generated data set "shapes"?
#   python tools/make_shapes.py
#   python tools/study.py search configs/studies/search_shapes.py --confirm
base = '../shapes/faster-rcnn_r18_fpn_shapes.py'
search = dict(
    trials=30,
    variant=dict(
        insert=[
            dict(
                at=dict(
                    choices=[
                        'backbone.layer[1-4].*.residual',
                        'backbone.layer[3-4].*.residual',
                        'neck.output',
                    ]
                ),
                block=dict(
                    choices=[
                        dict(type='mmattn.SE', reduction=dict(choices=[4, 8, 16]), start='identity'),
                        dict(type='mmattn.CBAM', start=dict(choices=['paper', 'identity'])),
                        dict(type='mmattn.ECA', start='identity'),
                    ]
                ),
            )
        ],
        optim_wrapper=dict(optimizer=dict(lr=dict(low=0.001, high=0.004, log=True))),
    ),
)
confirm = dict(seeds=[1, 2, 3, 4, 5], controls=['plain', 'capacity'])
