"""Models as ONNX files of standard operators: for programs, pages and machines that have no PyTorch."""
