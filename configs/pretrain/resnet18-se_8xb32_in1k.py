#   bash tools/dist_train.sh configs/pretrain/resnet18-se_8xb32_in1k.py 8
# 11.78 M parameters, 11.78 M of them trained; attention: 89,080 at 8 sites.
# Needs MMPretrain, and ImageNet in data/imagenet (--data-root names another folder).
_base_ = 'mmpretrain::resnet/resnet18_8xb32_in1k.py'

model = dict(
    type='mmattn.WithAttention',
    detector='mmpretrain.ImageClassifier',
    insert=[dict(at='backbone.layer[1-4].*.residual', block=dict(type='mmattn.SE'))],
)
