"""The model, the engines that run its pass, the driver, and the starts."""
