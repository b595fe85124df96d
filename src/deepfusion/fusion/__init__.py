"""The paper's network, one idea per file: audio encoder, attention, FBP; then the models, their data and training.

Zhang, Wang, Du, "Deep Fusion: An Attention Guided Factorized Bilinear Pooling for Audio-video Emotion
Recognition", IJCNN 2019, arXiv 1901.04889. Equation numbers in this package are the paper's.
"""
