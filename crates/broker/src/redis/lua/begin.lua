-- Shared by the scripts below: where a room's stream stands, begun if it has none, or if it ends
-- below what was seen in its own life: Redis came back with less than it had.
-- A new life starts above everything known, so that offsets never go back, and without what an
-- older life left behind. Where there is an archive, only that knows how far earlier lives came:
-- `may_begin` is '0' until it was asked, and nothing is returned where a life would have to begin.
-- life = the keys meta, stream, nonces, older nonces, tombstones, changes of messages
-- private = '1': only its members may be in the room, as the archive says
local function begin(life, epoch, seen, ttl, seen_epoch, may_begin, private)
  local meta, stream = life[1], life[2]
  local known = redis.call('HMGET', meta, 'epoch', 'top', 'generation', 'last', 'archived')
  if known[1] and not (known[1] == seen_epoch and tonumber(known[2]) < tonumber(seen)) then
    return known[1], tonumber(known[2]), tonumber(known[3]), known[4] or '-', tonumber(known[5])
  end
  if may_begin == '0' then
    return nil
  end
  local top = tonumber(seen)
  local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  if last then
    top = math.max(top, tonumber(string.match(last[1], '^%d+')))
  end
  -- A room with members has no time to live, and keeps none.
  local kept = redis.call('TTL', meta) == -1
  redis.call('UNLINK', unpack(life, 2, 6))
  local base = string.format('%.0f', top)
  redis.call('HSET', meta, 'epoch', epoch, 'top', base, 'base', base, 'generation', 0)
  redis.call('HDEL', meta, 'last', 'archived')
  if private == '1' then
    redis.call('HSET', meta, 'private', '1')
  end
  if not kept then
    redis.call('EXPIRE', meta, ttl)
  end
  return epoch, top, 0, '-'
end
