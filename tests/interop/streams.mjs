// SPDX-License-Identifier: MIT
// Verbs of helia.mjs for streams of /x/<service>: handlers of this node, and streams that it opens. Each stream is a talk with
// a number; what came on it is counted and hashed, and its state can be asked for at any time.
import { multiaddr } from '@multiformats/multiaddr'
import { createHash } from 'node:crypto'

const HEAD = 256 // bytes of what came that are shown

const text = s => new TextEncoder().encode(s)

class Talk {
  // `each` is called with every piece, `last` at the end; what they throw ends the reading
  constructor (stream, each = async () => {}, last = async () => {}) {
    this.stream = stream
    this.bytes = 0
    this.head = ''
    this.hash = createHash('sha256')
    this.ended = false // the other side has finished and all of it was read
    this.closed = '' // how it ended altogether
    stream.addEventListener('close', event => { this.closed = event.error ? event.error.name : 'closed' })
    this.read(each, last).catch(error => { this.failed = error.name })
  }

  async read (each, last) {
    // an iterator of js-libp2p waits for an event, which has passed when the other side had finished before
    const finished = this.stream.remoteWriteStatus === 'closed'
    const more = () => !finished || this.stream.readBufferLength > 0
    if (more()) {
      for await (const data of this.stream) {
        const piece = data.subarray()
        this.bytes += piece.length
        this.hash.update(piece)
        if (this.head.length < HEAD) this.head += Buffer.from(piece).toString('latin1').slice(0, HEAD - this.head.length)
        await each(piece, this)
        if (!more()) break
      }
    }
    this.ended = true
    await last(this)
  }

  state () {
    const { bytes, head, ended, closed, failed } = this
    return { bytes, head, ended, closed, failed, status: this.stream.status, theirs: this.stream.remoteWriteStatus, hash: this.hash.copy().digest('hex') }
  }

  // false from the stream's send(): it took the bytes, and wants no more until it has drained
  async send (bytes) {
    for (let at = 0; at < bytes.length; at += 65536) {
      if (!this.stream.send(bytes.subarray(at, at + 65536))) await this.stream.onDrain()
    }
  }
}

const handlers = {
  hello: stream => { stream.send(text('hello from js\n')); stream.close(); return new Talk(stream) },
  echo: stream => new Talk(stream, (piece, t) => t.send(piece), () => stream.close()),
  sum: stream => new Talk(stream, undefined, async t => { await t.send(text(t.state().hash)); await stream.close() }),
  hold: stream => new Talk(stream) // does what it is told
}

export function streamVerbs (libp2p) {
  const talks = []
  const keep = t => talks.push(t) - 1
  const came = {} // service → number of the stream that was opened last
  return {
    handle: async ({ service, kind }) => {
      await libp2p.handle(`/x/${service}`, stream => { came[service] = keep(handlers[kind](stream)) }, { maxInboundStreams: 1024 })
      return {}
    },
    unhandle: async ({ service }) => { await libp2p.unhandle(`/x/${service}`); return {} },
    came: async ({ service }) => ({ talk: came[service] ?? -1 }),
    // `refused`: the name of the error when there is no such protocol for us
    open: async ({ address, service }) => {
      try {
        const stream = await libp2p.dialProtocol(multiaddr(address), `/x/${service}`, { signal: AbortSignal.timeout(15000), maxOutboundStreams: 1024 })
        return { talk: keep(new Talk(stream)) }
      } catch (error) {
        return { refused: error.name }
      }
    },
    state: async ({ talk }) => talks[talk].state(),
    send: async ({ talk, data }) => { await talks[talk].send(text(data)); return {} },
    sendMany: async ({ talk, count }) => { await talks[talk].send(new Uint8Array(count).fill(120)); return {} },
    finish: async ({ talk }) => { await talks[talk].stream.close({ signal: AbortSignal.timeout(15000) }); return {} },
    abort: async ({ talk }) => { talks[talk].stream.abort(new Error('told to')); return {} },
    services: async ({ peer }) => {
      const peers = await libp2p.peerStore.all()
      return { protocols: peers.find(p => p.id.toString() === peer)?.protocols ?? [] }
    }
  }
}
