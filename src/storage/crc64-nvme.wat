;; CRC-64/NVME, which S3 makes of objects that were stored without a checksum: polynomial 0xad93d23594c93659, reflected, all ones before and after (NVM Express
;; NVM Command Set Specification, "64b CRC"; the RevEng catalogue calls it CRC-64/NVME).
;;
;; Sixteen bytes at a time by sixteen tables: the first holds the sums of single bytes, each further one those of a byte with one more zero behind it.
;;
;; crc64-nvme-module.ts holds this module's bytes; `node scripts/assemble-wasm.ts` makes them, and a test holds the two together.
(module
  ;; The tables from 0 to 32 KiB; bytes to be summed from 64 KiB on. The size never changes, so that views of it stay valid.
  (memory (export "memory") 3 3)

  (func $makeTables
    (local $at i32) (local $sum i64) (local $bit i32)
    (loop $bytes
      (local.set $sum (i64.extend_i32_u (i32.shr_u (local.get $at) (i32.const 3))))
      (local.set $bit (i32.const 8))
      (loop $bits
        (local.set $sum
          (i64.xor
            (i64.shr_u (local.get $sum) (i64.const 1))
            (i64.and (i64.const 0x9a6c9329ac4bc9b5) (i64.sub (i64.const 0) (i64.and (local.get $sum) (i64.const 1))))))
        (br_if $bits (local.tee $bit (i32.sub (local.get $bit) (i32.const 1)))))
      (i64.store (local.get $at) (local.get $sum))
      (br_if $bytes (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 8))) (i32.const 2048))))
    ;; The other tables, each of the one before.
    (loop $further
      (local.set $sum (i64.load (i32.sub (local.get $at) (i32.const 2048))))
      (i64.store (local.get $at)
        (i64.xor
          (i64.shr_u (local.get $sum) (i64.const 8))
          (i64.load (i32.shl (i32.and (i32.wrap_i64 (local.get $sum)) (i32.const 255)) (i32.const 3)))))
      (br_if $further (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 8))) (i32.const 32768)))))
  (start $makeTables)

  ;; What the four bytes of $word, the first of them lowest, add: its first byte by the table at $table, the others by those before it.
  (func $summed (param $word i32) (param $table i32) (result i64)
    (i64.xor
      (i64.xor
        (i64.load (i32.add (local.get $table) (i32.shl (i32.and (local.get $word) (i32.const 255)) (i32.const 3))))
        (i64.load (i32.add (i32.sub (local.get $table) (i32.const 2048)) (i32.and (i32.shr_u (local.get $word) (i32.const 5)) (i32.const 2040)))))
      (i64.xor
        (i64.load (i32.add (i32.sub (local.get $table) (i32.const 4096)) (i32.and (i32.shr_u (local.get $word) (i32.const 13)) (i32.const 2040))))
        (i64.load (i32.add (i32.sub (local.get $table) (i32.const 6144)) (i32.and (i32.shr_u (local.get $word) (i32.const 21)) (i32.const 2040)))))))

  ;; Goes on with $sum over the bytes from $start to $end.
  (func (export "update") (param $sum i64) (param $start i32) (param $end i32) (result i64)
    (local $mixed i64)
    (block $rest
      (loop $sixteen
        (br_if $rest (i32.lt_u (i32.sub (local.get $end) (local.get $start)) (i32.const 16)))
        (local.set $mixed (i64.xor (local.get $sum) (i64.load (local.get $start))))
        (local.set $sum
          (i64.xor
            (i64.xor
              (call $summed (i32.wrap_i64 (local.get $mixed)) (i32.const 30720))
              (call $summed (i32.wrap_i64 (i64.shr_u (local.get $mixed) (i64.const 32))) (i32.const 22528)))
            (i64.xor
              (call $summed (i32.load offset=8 (local.get $start)) (i32.const 14336))
              (call $summed (i32.load offset=12 (local.get $start)) (i32.const 6144)))))
        (local.set $start (i32.add (local.get $start) (i32.const 16)))
        (br $sixteen)))
    (block $ended
      (loop $bytes
        (br_if $ended (i32.eq (local.get $start) (local.get $end)))
        (local.set $sum
          (i64.xor
            (i64.shr_u (local.get $sum) (i64.const 8))
            (i64.load
              (i32.shl
                (i32.and (i32.xor (i32.wrap_i64 (local.get $sum)) (i32.load8_u (local.get $start))) (i32.const 255))
                (i32.const 3)))))
        (local.set $start (i32.add (local.get $start) (i32.const 1)))
        (br $bytes)))
    (local.get $sum)))
