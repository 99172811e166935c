"""Promptable models: plain ``nn.Module`` classes that know nothing of Lightning."""
