-- Shared by the scripts that compare or begin epochs: the rules of `Epoch` in the protocol crate.

-- An epoch's number in the order of epochs. 0 for names from before epochs were ordered.
local function number_of(epoch)
  local digits = string.match(epoch, '^([0-9a-z]+)%-')
  return digits and #digits == 9 and tonumber(digits, 36) or 0
end

-- Whether a change must not be stored, because its target, an event of another epoch, is not in
-- this room's stream. Events of older epochs are at or below the base. A target that has left the
-- stream with everything before it may be in the archive.
-- KEYS  1 meta  2 stream  5 tombstones
local function is_foreign(target, epoch_of_target)
  local base = tonumber(redis.call('HGET', KEYS[1], 'base') or '0')
  if tonumber(target) > base then
    return true
  end
  local entry = redis.call('XRANGE', KEYS[2], target .. '-0', target .. '-0')[1]
  if entry then
    return entry[2][2] ~= epoch_of_target
  end
  local instead = redis.call('ZRANGEBYSCORE', KEYS[5], target, target)[1]
  if instead then
    return not string.find(instead, ',"epoch":"' .. epoch_of_target .. '","offset":' .. target .. '}', 1, true)
  end
  local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
  return first and tonumber(string.match(first[1], '^%d+')) < tonumber(target) or false
end
