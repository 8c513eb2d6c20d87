"""The network: Wan2.2's video transformer that hears audio, sees masks and refines them."""
