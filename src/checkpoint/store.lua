-- Stores the value ARGV[2] of the epoch ARGV[1] in the hash KEYS[1], unless a
-- later epoch is there. Returns whether it did, and what was there as the epoch.
-- Epochs are whole numbers below 2^53: anything else is replaced, and so is a key
-- that holds something else by now.
local held = redis.pcall('HGET', KEYS[1], 'epoch')
if type(held) == 'table' then
  if not string.find(held.err, 'WRONGTYPE') then
    return held
  end
  redis.call('UNLINK', KEYS[1])
  held = 'another type'
end
if not held then
  redis.call('UNLINK', KEYS[1])
end
local before = held and tonumber(held)
if before and before % 1 == 0 and before < 2^53 and before > tonumber(ARGV[1]) then
  return {0, held}
end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'value', ARGV[2])
return {1, held}
