"""Systems to compare with, on the same split and protocol: the training set's mean mask, and MONAI's SegResNet."""
