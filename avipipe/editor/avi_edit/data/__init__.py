"""What the editor learns from: published shards, as batches of latents, masks, audio and text.

`shards` lists the samples of a split and reads them, `plan` says which of them make up a batch,
`buckets` in which size, `clip` draws and decodes a part of one, `encoders` turns it into features,
`cache` keeps those, and `stream` puts it all together.
"""
