"""How long a click takes in ONNX Runtime, beside PyTorch."""
