-- Begins an epoch in the hash KEYS[1]: one more than the epoch that is there, and
-- ARGV[1] at least. Returns it, as text, with the value that is there. With a
-- second argument, a key that holds something else is removed first; returns,
-- last, whether it did.
-- Epochs are milliseconds since 1970, or a little more: doubles hold them
-- exactly, up to 2^53. Anything else counts as none.
local removed = 0
local held = redis.pcall('HMGET', KEYS[1], 'epoch', 'value')
if not held.err and not held[1] and not held[2] and redis.call('EXISTS', KEYS[1]) == 1 then
  held = redis.error_reply('WRONGTYPE a hash without the fields of a checkpoint')
end
if held.err then
  if not ARGV[2] or not string.find(held.err, 'WRONGTYPE') then
    return held
  end
  removed = redis.call('UNLINK', KEYS[1])
  held = {}
end
local epoch = tonumber(ARGV[1])
local before = held[1] and tonumber(held[1])
if before and before % 1 == 0 and before < 2^53 and before >= epoch then
  epoch = before + 1
end
epoch = string.format('%.0f', epoch)
redis.call('HSET', KEYS[1], 'epoch', epoch)
return {epoch, held[2] or false, removed}
