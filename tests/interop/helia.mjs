// SPDX-License-Identifier: MIT
// A Helia node that does what JSON lines on its standard input say and answers each with one JSON line.
//   node helia.mjs [--no-early-muxer] [--mdns] LISTEN-MULTIADDR
import { createHeliaLight } from 'helia'
import { withLibp2pLight } from '@helia/libp2p'
import { withBitswap } from '@helia/bitswap'
import { unixfs } from '@helia/unixfs'
import { tcp } from '@libp2p/tcp'
import { noise } from '@libp2p/noise'
import { yamux } from '@libp2p/yamux'
import { identify, identifyPush } from '@libp2p/identify'
import { ping } from '@libp2p/ping'
import { mdns } from '@libp2p/mdns'
import { multiaddr } from '@multiformats/multiaddr'
import { CID } from 'multiformats/cid'
import { importer } from 'ipfs-unixfs-importer'
import { createReadStream, createWriteStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { once } from 'node:events'
import { streamVerbs } from './streams.mjs'

const flags = process.argv.slice(2).filter(a => a.startsWith('--'))
const listen = process.argv.slice(2).filter(a => !a.startsWith('--'))

// Noise as shipped offers the muxers in its handshake; this one leaves them to multistream-select inside the channel.
function noiseWithoutEarlyMuxer () {
  const make = noise()
  return components => {
    const inner = make(components)
    const later = f => (connection, options) => f.call(inner, connection, { ...options, skipStreamMuxerNegotiation: true })
    inner.secureInbound = later(inner.secureInbound)
    inner.secureOutbound = later(inner.secureOutbound)
    return inner
  }
}

const helia = await withBitswap(withLibp2pLight(createHeliaLight(), {
  addresses: { listen },
  transports: [tcp()],
  connectionEncrypters: [flags.includes('--no-early-muxer') ? noiseWithoutEarlyMuxer() : noise()],
  streamMuxers: [yamux()],
  peerDiscovery: flags.includes('--mdns') ? [mdns()] : [],
  connectionGater: { denyDialMultiaddr: () => false },
  services: { identify: identify(), identifyPush: identifyPush(), ping: ping() }
})).start()
const fs = unixfs(helia)

async function * collect (source) { for await (const entry of source) yield entry }

const verbs = {
  ...streamVerbs(helia.libp2p),
  id: async () => ({ id: helia.libp2p.peerId.toString(), addresses: helia.libp2p.getMultiaddrs().map(String) }),
  dial: async ({ address }) => { await helia.libp2p.dial(multiaddr(address), { signal: AbortSignal.timeout(15000) }); return {} },
  hangup: async ({ peer }) => { for (const c of helia.libp2p.getConnections()) if (c.remotePeer.toString() === peer) await c.close(); return {} },
  peers: async () => ({ peers: helia.libp2p.getPeers().map(String) }),
  ping: async ({ address }) => ({ ms: await helia.libp2p.services.ping.ping(multiaddr(address)) }),
  add: async ({ path, options }) => ({ cid: String(await fs.addByteStream(createReadStream(path), options)) }),
  // `count` files named by `name` with the index in it; a directory over the HAMT threshold when they are many
  addMany: async ({ count, name, options }) => {
    let root
    const source = (function * () {
      for (let i = 0; i < count; i++) yield { path: name.replace('#', String(i)), content: new TextEncoder().encode(`file ${i}\n`) }
    })()
    for await (const e of importer(source, helia.blockstore, { profile: 'unixfs-v1-2025', wrapWithDirectory: true, ...options })) root = e.cid
    return { cid: String(root) }
  },
  cat: async ({ cid, out }) => {
    const file = createWriteStream(out)
    let bytes = 0
    for await (const piece of fs.cat(CID.parse(cid), { signal: AbortSignal.timeout(120000) })) {
      bytes += piece.length
      if (!file.write(piece)) await once(file, 'drain')
    }
    file.end()
    await once(file, 'finish')
    return { bytes }
  },
  ls: async ({ cid }) => {
    const names = []
    for await (const entry of collect(fs.ls(CID.parse(cid), { signal: AbortSignal.timeout(120000) }))) names.push(entry.name)
    return { names }
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line)
  let answer
  try {
    answer = await verbs[request.verb](request)
  } catch (error) {
    answer = { error: String(error?.stack ?? error) }
  }
  process.stdout.write(JSON.stringify(answer) + '\n')
}
await helia.stop()
process.exit(0)
